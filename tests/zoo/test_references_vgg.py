"""VGG without hidden layers, on torchvision's body; and what both forms are asked for."""

import pytest
import torch
import torchvision
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from vertebra.core import VertebraError
from vertebra.zoo import create, load_foreign

# Before the five poolings in torchvision's flat list of configuration D.
BEFORE_POOLING = (3, 8, 15, 22, 29)


def _body() -> tuple[nn.Sequential, dict[str, Tensor]]:
    """torchvision's, and a state dict as its whole network has it."""
    body = make_layers(cfgs["D"]).double()
    redraw(body)
    state = {f"features.{name}": value for name, value in body.state_dict().items()}
    return body.eval(), state | {"classifier.6.bias": torch.zeros(1000)}


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_vgg16_gap_on_another_librarys_body(source: str) -> None:
    body, state = _body()
    net = create("vgg16_gap", num_classes=0, seed=0).double().eval()
    load_foreign(net, state, source)
    x = torch.randn(2, 3, 75, 75, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = net.features(x)
        vector, out = net(x), x
        for place, layer in enumerate(body):
            # torchvision's ReLUs overwrite their input, but none is a map
            out = layer(out)
            if place in BEFORE_POOLING:
                stage = BEFORE_POOLING.index(place)
                assert_close(f"stage {stage}", maps[stage], out, MAP_TOLERANCE)
    assert_close("vector", vector, out.mean((2, 3)), MAP_TOLERANCE)


def test_a_body_alone_does_not_fill_a_classifier() -> None:
    with torch.device("meta"):
        net = create("vgg16_gap", seed=0)
    with pytest.raises(VertebraError, match=r"head\.fc\.bias is missing there"):
        load_foreign(net, _body()[1])


def test_vgg16_gap_is_the_body_and_one_layer() -> None:
    with torch.device("meta"):
        net = create("vgg16_gap", seed=0)
    body = sum(p.numel() for p in make_layers(cfgs["D"]).parameters())
    assert sum(p.numel() for p in net.parameters()) == body + 513 * 1000 == 15_227_688


def test_dropout_follows_both_hidden_layers() -> None:
    """Evaluation cannot show it."""
    with torch.device("meta"):
        head, theirs = create("vgg11", seed=0).head, torchvision.models.vgg11().classifier
    ours = [*head.hidden, head.dropout, head.fc]
    assert [type(layer) for layer in ours] == [type(layer) for layer in theirs]
    assert [m.p for m in head.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
