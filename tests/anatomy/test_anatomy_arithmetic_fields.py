"""Receptive fields against PyTorch's gradients, and published ones."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vertebra.anatomy.arithmetic import AxisField, Window, receptive_field

many = settings(max_examples=200)
windows = st.tuples(
    st.booleans(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.integers(1, 3)
)


@many
@given(st.lists(windows, max_size=4))
def test_the_gradient_reaches_the_field(rows: list[tuple[bool, int, int, int, int]]) -> None:
    layers: list[nn.Module] = []
    stack: list[Window] = []
    for pool, kernel, stride, padding, dilation in rows:
        if pool:
            padding, dilation = min(padding, kernel // 2), 1
            layers.append(nn.AvgPool1d(kernel, stride, padding))
        else:
            conv = nn.Conv1d(1, 1, kernel, stride, padding, dilation, bias=False)
            nn.init.constant_(conv.weight, 1 / kernel)
            layers.append(conv)
        stack.append(Window(kernel, stride, padding, dilation))
    net, field, length = nn.Sequential(*layers).double(), receptive_field(stack), 801
    x = torch.ones(1, 1, length, dtype=torch.float64, requires_grad=True)
    out = net(x)
    starts = [field.start + place * field.jump for place in range(out.shape[-1])]
    # The first and the last position whose field lies within the image, so jump shows as well.
    inside = [i for i, start in enumerate(starts) if 0 <= start <= length - field.size]
    assert inside, "the image is too small for this test"
    for place in (inside[0], inside[-1]):
        (gradient,) = torch.autograd.grad(out[0, 0, place], x, retain_graph=True)
        touched = gradient[0, 0].nonzero().flatten()
        assert int(touched[0]) == starts[place]
        assert int(touched[-1]) - int(touched[0]) + 1 == field.size
        assert int(touched[0] + touched[-1]) / 2 == field.centre + place * field.jump


def test_published_field_of_vgg16_and_resnet50() -> None:
    """Araujo, Norris and Sim, 2019, table of networks; ResNet-50 v1.5, as torchvision has it."""
    conv, pool = Window(3, 1, 1), Window(2, 2)
    vgg = [[conv] * count + [pool] for count in (2, 2, 3, 3, 3)]
    assert receptive_field(window for block in vgg for window in block).size == 212
    resnet = [Window(7, 2, 3), Window(3, 2, 1)]
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            resnet += [Window(1), Window(3, stride, 1), Window(1)]
    field = receptive_field(resnet)
    assert (field.size, field.jump) == (427, 32)
    assert receptive_field([]) == AxisField(1, 1, 0)
