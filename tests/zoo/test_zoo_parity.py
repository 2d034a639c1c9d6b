"""Every network that torchvision has too, against torchvision's; and that the check has teeth."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from parity import Pair, assert_parity, make_pair
from torch import nn

from vertebra.core import VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, load_foreign

# In torchvision under the same name, with the size of the images to compare on.
SHARED = {
    "resnet18": 75,  # odd: where rounding up and down part
    "resnet34": 64,
    "resnet50": 75,
    "resnet101": 64,
    "resnet152": 64,
    "resnext50_32x4d": 64,
    "resnext101_32x8d": 64,
    "resnext101_64x4d": 64,
    "wide_resnet50_2": 64,
    "wide_resnet101_2": 64,
}

Mutation = Callable[[Backbone], None]


@pytest.mark.parametrize(("name", "size"), SHARED.items())
def test_equal_to_torchvision(name: str, size: int) -> None:
    assert_parity(make_pair(name), size)


def _last_unit(net: Backbone) -> nn.Module:
    """The last convolution and norm of a block in the middle of the network."""
    return net.stages[1][1].branch[-1]


def _norm_eps(net: Backbone) -> None:
    _last_unit(net).norm.eps = 1e-3


def _shortcut_eps(net: Backbone) -> None:
    net.stages[2][0].shortcut.norm.eps = 1e-3


def _stem_eps(net: Backbone) -> None:
    net.stem[0].norm.eps = 1e-3


def _norm_momentum(net: Backbone) -> None:
    _last_unit(net).norm.momentum = 0.2


def _block_gelu(net: Backbone) -> None:
    net.stages[1][1].act = nn.GELU()


def _branch_hardswish(net: Backbone) -> None:
    net.stages[3][0].branch[0].act = nn.Hardswish()


def _stem_gelu(net: Backbone) -> None:
    net.stem[0].act = nn.GELU()


def _stride_elsewhere(net: Backbone) -> None:
    """In the other convolution, as the paper's bottlenecks have it: every shape stays."""
    units = net.stages[1][0].branch
    strided = next(unit for unit in units if unit.conv.stride == (2, 2))
    other = next(unit for unit in units if unit.conv.stride == (1, 1))
    strided.conv.stride, other.conv.stride = (1, 1), (2, 2)


def _stem_stride(net: Backbone) -> None:
    net.stem[0].conv.stride = (1, 1)


def _pool_stride(net: Backbone) -> None:
    net.stem[1].stride = 1


def _pool_rounding(net: Backbone) -> None:
    net.stem[1].ceil_mode = True


def _mean_pooling(net: Backbone) -> None:
    net.stem[1] = nn.AvgPool2d(3, 2, 1)


def _dilation(net: Backbone) -> None:
    conv = next(unit.conv for unit in net.stages[3][1].branch if unit.conv.kernel_size == (3, 3))
    conv.dilation, conv.padding = (2, 2), (2, 2)


def _shortcut_left_out(net: Backbone) -> None:
    net.stages[0][1].shortcut = None


def _activation_before_the_sum(net: Backbone) -> None:
    _last_unit(net).act = nn.ReLU()


MUTATIONS = (
    _norm_eps,
    _shortcut_eps,
    _stem_eps,
    _norm_momentum,
    _block_gelu,
    _branch_hardswish,
    _stem_gelu,
    _stride_elsewhere,
    _stem_stride,
    _pool_stride,
    _pool_rounding,
    _mean_pooling,
    _dilation,
    _shortcut_left_out,
    _activation_before_the_sum,
)


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def sound_weights(request: pytest.FixtureRequest) -> tuple[str, dict[str, torch.Tensor]]:
    """A name and weights, drawn once; each mutation gets a fresh pair with them."""
    pair = make_pair(request.param)
    return request.param, {name: t.clone() for name, t in pair.theirs.state_dict().items()}


def _fresh(name: str, weights: dict[str, torch.Tensor]) -> Pair:
    with torch.device("meta"):
        theirs, ours = torchvision.models.get_model(name), create(name, seed=0)
    theirs, ours = (net.double().to_empty(device="cpu") for net in (theirs, ours))
    theirs.load_state_dict(weights)
    load_foreign(ours, weights)
    return Pair(ours.requires_grad_(False), theirs.requires_grad_(False))


def test_a_fresh_pair_is_sound(sound_weights: tuple[str, dict[str, torch.Tensor]]) -> None:
    """Without this the tests below could pass for the wrong reason."""
    assert_parity(_fresh(*sound_weights))


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_one_wrong_detail_is_noticed(
    sound_weights: tuple[str, dict[str, torch.Tensor]], mutate: Mutation
) -> None:
    pair = _fresh(*sound_weights)
    mutate(pair.ours)
    with pytest.raises(AssertionError):
        assert_parity(pair)


def _weights(name: str, **options: int) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        net = torchvision.models.get_model(name, **options)
    return net.to_empty(device="cpu").state_dict()


@pytest.mark.parametrize(
    ("theirs", "options"), [("resnet34", {}), ("resnet50", {}), ("resnet18", {"num_classes": 7})]
)
def test_weights_of_another_network_are_refused(theirs: str, options: dict[str, int]) -> None:
    with pytest.raises(VertebraError, match="do not fit resnet18"):
        load_foreign(create("resnet18", seed=0), _weights(theirs, **options))


def test_a_missing_weight_is_named() -> None:
    weights = _weights("resnet18")
    del weights["layer3.1.bn2.bias"]
    with pytest.raises(VertebraError, match=r"stages\.2\.1\.branch\.1\.norm\.bias"):
        load_foreign(create("resnet18", seed=0), weights)


def test_a_source_that_is_not_known_is_refused() -> None:
    with pytest.raises(VertebraError, match="did you mean torchvision"):
        load_foreign(create("resnet18", seed=0), {}, "torchvison")
    with pytest.raises(VertebraError, match="source of weights for lenet5"):
        load_foreign(create("lenet5", seed=0), {}, "torchvision")
