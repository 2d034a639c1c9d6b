"""MobileViT's rearrangement of pixels, and the sizes that its paper states."""

import pytest
import timm
import torch
from torch.nn import functional as F

from vertebra.nn import InvertedResidual
from vertebra.zoo import create
from vertebra.zoo.mobilevit import fold, unfold

# Table 2 and figure 6 of arXiv:2110.02178, in millions.
MILLIONS = {"mobilevit_xxs": "1.3", "mobilevit_xs": "2.3", "mobilevit_s": "5.6"}


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_parameters_as_in_the_paper(name: str, millions: str) -> None:
    with torch.device("meta"):
        net = create(name, seed=0)
    assert f"{sum(parameter.numel() for parameter in net.parameters()) / 1e6:.1f}" == millions


@pytest.mark.parametrize("patch", [2, 3])
def test_unfolding_is_pytorchs_by_place_in_the_patch(patch: int) -> None:
    x = torch.randn(2, 5, 6, 12)
    columns = F.unfold(x, patch, stride=patch)  # (N, C * patch^2, patches)
    expected = columns.unflatten(1, (5, patch * patch)).permute(0, 2, 3, 1).flatten(0, 1)
    assert torch.equal(unfold(x, patch), expected)


def test_folding_undoes_unfolding() -> None:
    x = torch.randn(2, 5, 6, 12)
    assert torch.equal(fold(unfold(x, 2), 2, (6, 12)), x)


def test_drop_path_rises_as_in_timm() -> None:
    """A rate a block; all transformer layers of a MobileViT block have its rate."""
    ours = create("mobilevit_xxs", seed=0, drop_path=0.3)
    theirs = timm.create_model("mobilevit_xxs", drop_path_rate=0.3)
    compared = 0
    for our_stage, their_stage in zip(ours.stages, theirs.stages, strict=True):
        for our, their in zip(our_stage, their_stage, strict=True):
            if isinstance(our, InvertedResidual):
                # Without a shortcut there is nothing to drop; timm has a rate there all the same.
                pairs = [(our.drop_path, their.drop_path)] if our.residual else []
            else:
                pairs = [
                    (layer.drop_path, other.drop_path1)
                    for layer, other in zip(our.transformer, their.transformer, strict=True)
                ]
            for one, other in pairs:
                assert one.rate == pytest.approx(getattr(other, "drop_prob", 0.0))
                compared += 1
    assert compared == 3 + 9
