"""The compound scaling rule of EfficientNet, for which no library has a network, and drop-path.

The reference is torchvision's class given table 1 of arXiv:1905.11946 and scaled by the rule.
"""

import itertools
import math

import pytest
import torch
from parity import MAP_TOLERANCE, assert_close, redraw
from torchvision.models import efficientnet as torchvision_efficientnet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.ops import StochasticDepth

from vertebra.anatomy import dissect
from vertebra.core import VertebraError
from vertebra.nn import InvertedResidual
from vertebra.zoo import create
from vertebra.zoo.efficientnet import VARIANTS, from_torchvision, specialise

# Expansion, kernel, stride, channels in and out, layers.
TABLE_1 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def _by_rule(phi: float) -> EfficientNet:
    width, depth = 1.1**phi, 1.2**phi
    last = MBConvConfig.adjust_channels(1280, width)
    lines = [MBConvConfig(*line, width_mult=width, depth_mult=depth) for line in TABLE_1]
    return EfficientNet(lines, dropout=0.0, last_channel=last)


@pytest.mark.parametrize("phi", [-2, 0.5, 3])
def test_equal_to_the_reference(phi: float) -> None:
    theirs = _by_rule(phi).double().eval()
    redraw(theirs)
    ours = create("efficientnet", seed=0, phi=phi).double().eval()
    row = specialise(VARIANTS["efficientnet"], {"phi": phi})
    ours.load_state_dict(from_torchvision(row, theirs.state_dict()))
    x = torch.randn(1, 3, 65, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close("logits", ours(x), theirs(x), MAP_TOLERANCE)


def test_phi_0_is_b0() -> None:
    ours, b0 = create("efficientnet", seed=3), create("efficientnet_b0", seed=3)
    assert ours.input_size == b0.input_size
    for (name, ours_value), (b0_name, b0_value) in zip(
        ours.state_dict().items(), b0.state_dict().items(), strict=True
    ):
        assert name == b0_name
        assert torch.equal(ours_value, b0_value)


def _shapes(name: str, phi: float = 0.0) -> list[torch.Size]:
    with torch.device("meta"):
        return [parameter.shape for parameter in create(name, seed=0, phi=phi).parameters()]


def test_phi_1_is_b2_but_for_the_resolution() -> None:
    """The only released coefficients besides b0's that the rule gives."""
    assert _shapes("efficientnet", phi=1) == _shapes("efficientnet_b2")


@pytest.mark.parametrize(("phi", "size"), [(-1, 195), (0, 224), (1, 258), (2, 296), (7, 596)])
def test_resolution_is_rounded_to_whole_pixels(phi: float, size: int) -> None:
    with torch.device("meta"):
        assert create("efficientnet", seed=0, phi=phi).input_size == (3, size, size)


def test_each_unit_of_phi_about_doubles_the_work() -> None:
    """Equation 3 asks for it; depths that round up to whole layers and channels to 8 blur it."""
    with torch.device("meta"):
        macs = [dissect(create("efficientnet", seed=0, phi=phi)).macs for phi in range(6)]
    ratios = [after / before for before, after in itertools.pairwise(macs)]
    assert all(1.6 < ratio < 2.6 for ratio in ratios), ratios
    assert math.prod(ratios) ** (1 / len(ratios)) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("phi", [17, -17, math.nan, math.inf])
def test_phi_out_of_range_is_refused(phi: float) -> None:
    with pytest.raises(VertebraError, match="takes -16 to 16"):
        create("efficientnet", phi=phi)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_lite4"])
def test_phi_is_for_the_rule_only(name: str) -> None:
    with pytest.raises(VertebraError, match="'phi' is for the model efficientnet only"):
        create(name, phi=1.0)


def test_drop_path_rises_as_in_torchvision() -> None:
    theirs = torchvision_efficientnet.efficientnet_b1(stochastic_depth_prob=0.3)
    blocks = [module for module in theirs.modules() if hasattr(module, "stochastic_depth")]
    assert all(isinstance(block.stochastic_depth, StochasticDepth) for block in blocks)
    expected = [block.stochastic_depth.p for block in blocks if block.use_res_connect]
    ours = create("efficientnet_b1", seed=0, drop_path=0.3)
    residual = [m for m in ours.modules() if isinstance(m, InvertedResidual) and m.residual]
    assert [block.drop_path.rate for block in residual] == pytest.approx(expected)
    assert 0 < expected[0] < expected[-1] < 0.3
