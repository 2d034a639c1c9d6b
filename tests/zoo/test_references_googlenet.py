"""The paper's GoogLeNet, against a forward written down a second time and against its table 1.

The reference uses plain functions on a state dict: no module of ours runs in it.
"""

from collections.abc import Callable

import pytest
import torch
from parity import MAP_TOLERANCE, assert_close, redraw
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create

Weights = dict[str, Tensor]

# Table 1 of arXiv:1409.4842, without the poolings: our path, pixels a side of what it takes, then
# the columns #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj, params (in K), ops (in M).
TABLE_1 = """
3a  stages.1.1  28   64   96  128  16   32   32   159  128
3b  stages.1.2  28  128  128  192  32   96   64   380  304
4a  stages.2.1  14  192   96  208  16   48   64   364   73
4b  stages.2.2  14  160  112  224  24   64   64   437   88
4c  stages.2.3  14  128  128  256  24   64   64   463  100
4d  stages.2.4  14  112  144  288  32   64   64   580  119
4e  stages.2.5  14  256  160  320  32  128  128   840  170
5a  stages.3.1   7  256  160  320  32  128  128  1072   54
5b  stages.3.2   7  384  192  384  48  128  128  1388   71
"""
LINES = [line.split() for line in TABLE_1.strip().splitlines()]
# The other lines: path, kernels as (in, out, side), pixels a side of the output, params, ops.
OTHERS = [
    ("stem", [(3, 64, 7)], 112, "2.7", 34),
    ("stages.0", [(64, 64, 1), (64, 192, 3)], 56, "112", 360),
    ("head", [(1024, 1000, 1)], 1, "1000", 1),
]
# Where the paper's own columns follow from its numbers of filters. A K is 1024; biases count, and
# the last digit may be cut or rounded.
#
# They do not for the params of: the first convolution (2.7K is 7 + 7 taps instead of 7 x 7; exact
# 9.25K), 4a (364K; 367.4K), 4b (437K; 438.6K), 4c (463K; 498.1K), 4d (580K; 591.2K), 4e (840K;
# 848.0K), 5a (1072K; 1019.0K) and 5b (1388K; 1410.2K); nor for the ops of the first convolution
# (34M; 118.0M) and of 5a (54M; 51.1M).
RIGHT_PARAMS = {"stages.0", "3a", "3b", "head"}
RIGHT_OPS = {"stages.0", "3a", "3b", "4a", "4b", "4c", "4d", "4e", "5b", "head"}


def _exact(kernels: list[tuple[int, int, int]], pixels: int) -> tuple[int, int]:
    """(parameters with biases, multiplications) of convolutions given as (in, out, side)."""
    products = [inputs * outputs * side**2 for inputs, outputs, side in kernels]
    biases = [outputs for _, outputs, _ in kernels]
    return sum(products) + sum(biases), sum(products) * pixels**2


def _module_kernels(in_chans: int, filters: list[int]) -> list[tuple[int, int, int]]:
    one, reduce3, three, reduce5, five, pool = filters
    return [
        (in_chans, one, 1),
        (in_chans, reduce3, 1),
        (reduce3, three, 3),
        (in_chans, reduce5, 1),
        (reduce5, five, 5),
        (in_chans, pool, 1),
    ]


def _paper() -> dict[str, tuple[str, int, int, str, int]]:
    """Line -> (our path, exact parameters, exact multiplications, the paper's two columns)."""
    lines = {
        path: (path, *_exact(kernels, pixels), params, ops)
        for path, kernels, pixels, params, ops in OTHERS
    }
    channels = 192
    for name, path, pixels, *numbers in LINES:
        filters = [int(number) for number in numbers[:6]]
        kernels = _module_kernels(channels, filters)
        lines[name] = (path, *_exact(kernels, int(pixels)), numbers[6], int(numbers[7]))
        channels = filters[0] + filters[2] + filters[4] + filters[5]
    return lines


PAPER = _paper()


@pytest.fixture(scope="module")
def counted() -> dict[str, tuple[int, int]]:
    """Path -> (parameters, multiplications) of ours."""
    layers = dissect(create("googlenet_2014", seed=0)).layers
    counts = {}
    for path, *_ in PAPER.values():
        mine = [layer for layer in layers if f"{layer.name}.".startswith(f"{path}.")]
        counts[path] = sum(layer.params for layer in mine), sum(layer.macs for layer in mine)
    return counts


@pytest.mark.parametrize("line", PAPER)
def test_table_1(line: str, counted: dict[str, tuple[int, int]]) -> None:
    path, params, multiplications, *_ = PAPER[line]
    assert counted[path] == (params, multiplications)


@pytest.mark.parametrize("line", PAPER)
def test_table_1s_own_arithmetic(line: str) -> None:
    """Where it is right, and where it is not: this file's numbers of filters are the paper's."""
    _, params, multiplications, thousands, millions = PAPER[line]
    assert (abs(params / 1024 - float(thousands)) < 1) == (line in RIGHT_PARAMS)
    assert (abs(multiplications / 1e6 - millions) < 1) == (line in RIGHT_OPS)


def test_seven_million_parameters() -> None:
    """Those of Caffe's bvlc_googlenet, when evaluating."""
    net = create("googlenet_2014", seed=0, aux_heads=False)
    assert sum(parameter.numel() for parameter in net.parameters()) == 6_998_552
    assert sum(params for _, params, *_ in PAPER.values()) == 6_998_552


def _conv(weights: Weights, path: str, x: Tensor, stride: int = 1) -> Tensor:
    """A convolution that keeps the size, and ReLU."""
    kernel = weights[f"{path}.conv.weight"]
    padding = kernel.shape[-1] // 2
    return F.relu(F.conv2d(x, kernel, weights[f"{path}.conv.bias"], stride, padding))


def _half(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


def _response_norm(x: Tensor) -> Tensor:
    """Caffe's formula, written with a matrix of which channel sees which."""
    places = torch.arange(x.shape[1])
    near = ((places[:, None] - places[None]).abs() <= 2).to(x.dtype)
    sums = torch.einsum("ij,njhw->nihw", near, x**2)
    return x / (1 + 1e-4 / 5 * sums) ** 0.75


def _module(weights: Weights, path: str, x: Tensor) -> Tensor:
    """Figure 2(b)."""
    three = _conv(weights, f"{path}.branch3.1", _conv(weights, f"{path}.branch3.0", x))
    five = _conv(weights, f"{path}.branch5.1", _conv(weights, f"{path}.branch5.0", x))
    pooled = _conv(weights, f"{path}.branch_pool.1", F.max_pool2d(x, 3, 1, 1))
    return torch.cat([_conv(weights, f"{path}.branch1", x), three, five, pooled], dim=1)


def _linear(weights: Weights, path: str, x: Tensor) -> Tensor:
    return F.linear(x, weights[f"{path}.weight"], weights[f"{path}.bias"])


def _aux(weights: Weights, path: str, x: Tensor) -> Tensor:
    x = _conv(weights, f"{path}.conv", F.avg_pool2d(x, 5, 3)).flatten(1)
    return _linear(weights, f"{path}.fc", F.relu(_linear(weights, f"{path}.hidden", x)))


def _reference(weights: Weights, x: Tensor, with_aux: bool) -> list[Tensor]:
    """Figure 3: the four maps, the logits, the logits of the classifiers on 4a and 4d."""
    x = _response_norm(_half(_conv(weights, "stem", x, stride=2)))
    x = _conv(weights, "stages.0.3", _conv(weights, "stages.0.2", x))
    x = _response_norm(x)
    maps, aux = [x], []
    for stage, places in ((1, 2), (2, 5), (3, 2)):
        x = _half(x)
        for place in range(1, places + 1):
            x = _module(weights, f"stages.{stage}.{place}", x)
            if with_aux and (stage, place) in ((2, 1), (2, 4)):
                aux.append(_aux(weights, f"aux.{len(aux)}", x))
        maps.append(x)
    return [*maps, _linear(weights, "head.fc", x.mean((2, 3))), *aux]


def _outputs(net: Backbone, x: Tensor, with_aux: bool) -> list[Tensor]:
    """The same of ours, in evaluation mode, where dropout is off."""
    outputs = net.eval().forward_train(x) if with_aux else None
    return [*net.eval().features(x), net(x), *(outputs.aux if outputs else ())]


def _compare(size: int, with_aux: bool, change: Callable[[Backbone], None] | None = None) -> None:
    net = create("googlenet_2014", seed=0).double()
    redraw(net)
    weights = net.state_dict()
    if change:
        change(net)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, size, size, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        ours, theirs = _outputs(net, x, with_aux), _reference(weights, x, with_aux)
    assert len(ours) == len(theirs) == (7 if with_aux else 5)
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert_close(f"{size} pixels, output {index}", our, their, MAP_TOLERANCE)


@pytest.mark.parametrize(("size", "with_aux"), [(224, True), (97, False), (70, False)])
def test_googlenet_2014(size: int, with_aux: bool) -> None:
    _compare(size, with_aux)


def _response_norm_of_three(net: Backbone) -> None:
    net.stages[0][4].size = 3


def _response_norm_before_the_pool(net: Backbone) -> None:
    blocks = net.stages[0]
    blocks[0], blocks[1] = blocks[1], blocks[0]


def _alpha_of_the_sum(net: Backbone) -> None:
    net.stages[0][1].alpha = 1e-4


def _pool_rounds_down(net: Backbone) -> None:
    net.stages[1][0].ceil_mode = False


def _small_last_pool(net: Backbone) -> None:
    net.stages[3][0].kernel_size = 2


def _reduction_without_activation(net: Backbone) -> None:
    net.stages[2][3].branch5[0].act = nn.Identity()


@pytest.mark.parametrize(
    "change",
    [
        _response_norm_of_three,
        _response_norm_before_the_pool,
        _alpha_of_the_sum,
        _pool_rounds_down,
        _small_last_pool,
        _reduction_without_activation,
    ],
)
def test_one_wrong_detail_is_noticed(change: Callable[[Backbone], None]) -> None:
    with pytest.raises(AssertionError):
        _compare(97, False, change)


@pytest.mark.parametrize(("size", "fits"), [(222, False), (223, True), (270, True), (271, False)])
def test_the_papers_auxiliary_pooling_fits_few_sizes(size: int, fits: bool) -> None:
    with torch.device("meta"):
        net, x = create("googlenet_2014", seed=0), torch.empty(2, 3, size, size)
    if fits:
        assert [aux.shape for aux in net.forward_train(x).aux] == [(2, 1000), (2, 1000)]
    else:
        with pytest.raises(VertebraError, match=r"14 to 16 pixels .* aux_heads=False"):
            net.forward_train(x)
