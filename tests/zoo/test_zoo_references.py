"""Networks that torchvision lacks, against forwards written down a second time from the papers.

The references use plain functions on a state dict: no module of ours runs in them.
"""

import pytest
import torch
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.nn import Backbone
from vertebra.zoo import create

# Table I of LeCun et al. (1998): a row is a map of S2, a column a map of C3.
TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""

Weights = dict[str, Tensor]


def _redrawn(name: str) -> tuple[Backbone, Weights]:
    net = create(name, seed=0).double()
    redraw(net)
    return net.eval(), net.state_dict()


def _images(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _unit(weights: Weights, path: str, x: Tensor, stride: int = 1) -> Tensor:
    """3x3 convolution and batch norm."""
    x = F.conv2d(x, weights[f"{path}.conv.weight"], stride=stride, padding=1)
    norm = {key: weights[f"{path}.norm.{key}"] for key in ("running_mean", "running_var")}
    scale, shift = weights[f"{path}.norm.weight"], weights[f"{path}.norm.bias"]
    return F.batch_norm(x, norm["running_mean"], norm["running_var"], scale, shift)


def _zero_padded(x: Tensor, stride: int) -> Tensor:
    """Option A: the identity, strided by sampling, with channels of zeros behind."""
    if stride == 1:
        return x
    sampled = x[:, :, ::2, ::2]
    return torch.cat([sampled, torch.zeros_like(sampled)], dim=1)


def _cifar_reference(weights: Weights, depth: int, x: Tensor, residual: bool) -> list[Tensor]:
    """Section 4.2 of arXiv:1512.03385: the map of each stage, then the logits."""
    blocks = (depth - 2) // 6
    x = F.relu(_unit(weights, "stem.0", x))
    results = []
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            path = f"stages.{stage}.{block}.branch"
            out = F.relu(_unit(weights, f"{path}.0", x, stride))
            out = _unit(weights, f"{path}.1", out)
            x = F.relu(out + _zero_padded(x, stride) if residual else out)
        results.append(x)
    pooled = x.mean(dim=(2, 3))
    return [*results, F.linear(pooled, weights["head.fc.weight"], weights["head.fc.bias"])]


@pytest.mark.parametrize("size", [32, 27])
@pytest.mark.parametrize("name", ["resnet20", "resnet32", "plain20", "plain32"])
def test_cifar_networks(name: str, size: int) -> None:
    net, weights = _redrawn(name)
    x = _images((2, 3, size, size))
    depth = int(name[-2:])
    expected = _cifar_reference(weights, depth, x, residual=name.startswith("resnet"))
    with torch.no_grad():
        ours = [*net.features(x), net(x)]
    for index, (our, their) in enumerate(zip(ours, expected, strict=True)):
        assert_close(f"{name} {index}", our, their, MAP_TOLERANCE)


def test_the_reference_without_shortcuts_is_another_network() -> None:
    """Teeth: were the shortcut left out, the comparison above would notice."""
    net, weights = _redrawn("resnet20")
    x = _images((2, 3, 32, 32))
    expected = _cifar_reference(weights, 20, x, residual=False)[-1]
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_close("logits", net(x), expected, MAP_TOLERANCE)


def _paper_mask() -> Tensor:
    """(16, 6): which maps of S2 each map of C3 sees."""
    rows = [[cell == "X" for cell in line.split()] for line in TABLE_I.strip().splitlines()]
    return torch.tensor(rows).T


def _dense_c3(net: Backbone, weights: Weights) -> tuple[Tensor, Tensor]:
    """The grouped convolutions of C3 as one dense kernel (16, 6, 5, 5) and its bias.

    Which of a kernel's planes belongs to which map is for our layer to say; that those are the
    paper's connections is then checked against the paper's table.
    """
    kernels, biases = [], []
    layer = net.stages[1][2]
    for index, seen in enumerate((3, 4, 6)):
        kernel = weights[f"stages.1.2.convs.{index}.weight"]
        maps = torch.tensor(layer.maps[index]).view(-1, seen)
        for planes, column in zip(kernel, maps, strict=True):
            dense = torch.zeros(6, 5, 5, dtype=kernel.dtype)
            dense[column] = planes
            kernels.append(dense)
        biases.append(weights[f"stages.1.2.convs.{index}.bias"])
    return torch.stack(kernels), torch.cat(biases)


def _squash(x: Tensor) -> Tensor:
    """The paper's A tanh(S a), with A = 1.7159 and S = 2/3."""
    return 1.7159 * torch.tanh(2 * x / 3)


def _subsampled(weights: Weights, path: str, x: Tensor) -> Tensor:
    """The four inputs are added, multiplied by a coefficient, a bias is added; then squashed."""
    total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
    return _squash(total * weights[f"{path}.weight"] + weights[f"{path}.bias"])


def _lenet_reference(net: Backbone, weights: Weights, x: Tensor) -> list[Tensor]:
    kernel, bias = _dense_c3(net, weights)
    kernel = kernel * _paper_mask()[:, :, None, None]
    c1 = _squash(F.conv2d(x, weights["stages.0.0.weight"], weights["stages.0.0.bias"]))
    c3 = _squash(F.conv2d(_subsampled(weights, "stages.1.0", c1), kernel, bias))
    s4 = _subsampled(weights, "stages.2.0", c3)
    c5 = _squash(F.conv2d(s4, weights["stages.2.2.weight"], weights["stages.2.2.bias"]))
    f6 = _squash(F.linear(c5.flatten(1), weights["head.f6.weight"], weights["head.f6.bias"]))
    return [c1, c3, c5, f6, F.linear(f6, weights["head.fc.weight"], weights["head.fc.bias"])]


def _with_random_subsampling(net: Backbone) -> None:
    with torch.no_grad():
        for path in ("stages.1.0", "stages.2.0"):
            net.get_parameter(f"{path}.weight").uniform_(0.1, 0.5)


def test_lenet5() -> None:
    net, weights = _redrawn("lenet5")
    _with_random_subsampling(net)
    x = _images((3, 1, 32, 32))
    with torch.no_grad():
        ours = [*net.features(x), net.embed(x), net(x)]
        expected = _lenet_reference(net, weights, x)
    for index, (our, their) in enumerate(zip(ours, expected, strict=True)):
        assert_close(f"lenet5 {index}", our, their, MAP_TOLERANCE)


def test_lenet5_sees_the_connections_of_table_1() -> None:
    net, weights = _redrawn("lenet5")
    kernel, _ = _dense_c3(net, weights)
    assert torch.equal((kernel != 0).any(dim=(2, 3)), _paper_mask())
    assert int(_paper_mask().sum()) == 60


def test_lenet5_dense() -> None:
    net, weights = _redrawn("lenet5_dense")
    x = _images((3, 1, 32, 32))

    def conv(path: str, x: Tensor) -> Tensor:
        return torch.tanh(F.conv2d(x, weights[f"{path}.weight"], weights[f"{path}.bias"]))

    c1 = conv("stages.0.0", x)
    c3 = conv("stages.1.1", F.avg_pool2d(c1, 2))
    c5 = conv("stages.2.1", F.avg_pool2d(c3, 2))
    f6 = torch.tanh(F.linear(c5.flatten(1), weights["head.f6.weight"], weights["head.f6.bias"]))
    logits = F.linear(f6, weights["head.fc.weight"], weights["head.fc.bias"])
    with torch.no_grad():
        ours = [*net.features(x), net.embed(x), net(x)]
    for our, their in zip(ours, [c1, c3, c5, f6, logits], strict=True):
        assert_close("lenet5_dense", our, their, MAP_TOLERANCE)


# Trainable parameters of each layer, section II.B of LeCun et al. (1998).
PAPER_PARAMS = {
    "stages.0.0": 156,  # C1
    "stages.1.0": 12,  # S2
    "stages.1.2": 1516,  # C3
    "stages.2.0": 32,  # S4
    "stages.2.2": 48120,  # C5
    "head.f6": 10164,  # F6
}
# Connections, biases among them, from the same section. C5 is fully connected: as its parameters.
PAPER_CONNECTIONS = {"stages.0.0": 122304, "stages.1.2": 151600, "stages.2.2": 48120}


def test_lenet5_has_the_papers_parameters() -> None:
    net = create("lenet5", seed=0)
    counts = {
        path: sum(p.numel() for p in net.get_submodule(path).parameters()) for path in PAPER_PARAMS
    }
    assert counts == PAPER_PARAMS
    # The paper says 60,000 for the whole; what is not listed is the classifier, ours.
    assert sum(p.numel() for p in net.parameters()) - 850 == sum(PAPER_PARAMS.values()) == 60000


@pytest.mark.parametrize(("path", "connections"), PAPER_CONNECTIONS.items())
def test_lenet5_has_the_papers_connections(path: str, connections: int) -> None:
    """A unit has one connection for each multiplication and one for its bias."""
    body = dissect(create("lenet5", seed=0))
    layers = [layer for layer in body.layers if f"{layer.name}.".startswith(f"{path}.")]
    convolutions = [layer for layer in layers if layer.kind == "Conv2d"]
    units = sum(torch.Size(layer.output_shape).numel() for layer in convolutions)
    assert sum(layer.macs for layer in layers) + units == connections


def test_the_scaled_tanh_maps_one_to_one() -> None:
    """Appendix A chooses the constants so that f(1) = 1 and f(-1) = -1."""
    act = create("lenet5", seed=0).stages[0][1]
    one = torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(act(one), one, atol=1e-4, rtol=0)
