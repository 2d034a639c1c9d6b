"""What vision transformers have beside their numbers: position tables, poolings, refusals."""

import warnings

import pytest
import timm
import torch
from parity import assert_close, redraw
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from vertebra.core import Notice, VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, load_foreign
from vertebra.zoo.positions import patch_grid, resize_positions
from vertebra.zoo.vit import VARIANTS, from_torchvision, resize


def _net(size: int = 48, **options: str) -> Backbone:
    """A net with numbers that all matter, for ``size``."""
    net = create("vit_ti_16", 5, seed=0, input_size=(3, size, size), **options).double()
    redraw(net)
    return net.eval()


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("new", [(5, 5), (2, 2), (6, 3), (1, 8)])
@pytest.mark.parametrize("old", [(3, 3), (4, 7)])
def test_positions_are_resized_as_in_timm(old: tuple[int, int], new: tuple[int, int]) -> None:
    table = _random(1, 1 + old[0] * old[1], 6)
    theirs = resample_abs_pos_embed(table, new_size=list(new), old_size=list(old))
    # timm interpolates in single precision.
    assert_close("positions", resize_positions(table, old, new), theirs, 1e-6)


def test_the_same_grid_is_left_alone() -> None:
    table = _random(1, 10, 6)
    assert resize_positions(table, (3, 3), (3, 3)) is table


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_interpolated_in_single(dtype: torch.dtype) -> None:
    table = _random(1, 10, 6).to(dtype)
    resized = resize_positions(table, (3, 3), (4, 5))
    assert resized.dtype == dtype
    assert torch.equal(resized, resize_positions(table.float(), (3, 3), (4, 5)).to(dtype))


@pytest.mark.filterwarnings("ignore::vertebra.core.Notice")
@pytest.mark.parametrize("size", [(80, 80), (32, 112)])
def test_another_image_size_gives_what_timm_gives(size: tuple[int, int]) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=48, dynamic_img_size=True)
    theirs.double().eval()
    redraw(theirs)
    ours = create("vit_ti_16", seed=0, input_size=(3, 48, 48)).double().eval()
    load_foreign(ours, theirs.state_dict(), "timm")
    x = _random(2, 3, *size)
    with torch.no_grad():
        assert_close("logits", ours(x), theirs(x), 1e-5)
        last = theirs.forward_intermediates(x, indices=[11], intermediates_only=True)[0]
        assert_close("map", ours.features(x)[-1], last, 1e-5)


def test_interpolation_is_told_once_a_size() -> None:
    net = _net()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for side in (48, 64, 64, 80, 64, 80):
            net(_random(1, 3, side, side))
    assert [warning.category for warning in caught] == [Notice, Notice]
    assert "3x3 patches are interpolated to 4x4" in str(caught[0].message)
    assert "interpolated to 5x5" in str(caught[1].message)


def test_a_table_for_another_grid_is_interpolated_while_loading() -> None:
    small, large = _net(48), _net(80)
    state = small.state_dict()
    notes = resize(large, state)
    expected = resize_positions(small.state_dict()["stem.positions"], (3, 3), (5, 5))
    assert torch.equal(state["stem.positions"], expected)
    assert len(notes) == 1
    assert "3x3" in notes[0]
    assert "5x5" in notes[0]


def test_a_table_that_fits_is_loaded_as_it_is() -> None:
    net = create("vit_ti_16", seed=0, input_size=(3, 32, 96))
    state = net.state_dict()
    table = state["stem.positions"]
    assert resize(net, state) == []
    assert state["stem.positions"] is table


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((225, 224), "224x224 and 240x224"),
        ((97, 100), "96x96 and 112x112"),
        ((7, 40), "16x32 and 16x48"),
        ((9, 9), "nearest: 16x16$"),
    ],
)
def test_a_size_between_patches_is_refused(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(VertebraError, match=nearest):
        patch_grid(size, 16)


def test_such_images_and_such_networks_are_refused() -> None:
    with pytest.raises(VertebraError, match="50x48 do not divide into patches of 16x16"):
        _net()(_random(1, 3, 50, 48))
    with pytest.raises(VertebraError, match="50x50"):
        create("vit_ti_16", input_size=(3, 50, 50))


def test_tokens_become_maps_row_by_row() -> None:
    tokens = torch.arange(7.0).view(1, 7, 1)
    assert torch.equal(_net().to_map(tokens, (32, 48)), torch.arange(1.0, 7).view(1, 1, 2, 3))


def test_pooling_can_be_changed_and_changed_back() -> None:
    x = _random(2, 3, 48, 48)
    net, averaging = _net(), _net(pool="avg")
    token = net.embed(x)
    net.reset_head(3, pool="avg")
    assert torch.equal(net.embed(x), averaging.embed(x))
    assert not torch.allclose(net.embed(x), token)
    net.reset_head(3, pool="token")
    assert torch.equal(net.embed(x), token)


def test_other_poolings_are_refused() -> None:
    with pytest.raises(VertebraError, match="unknown pooling 'max'"):
        _net().reset_head(3, pool="max")


def test_the_names_of_torchvisions_files_are_known() -> None:
    """Those are older than its code and call the MLP's layers linear_1 and linear_2."""
    name = "encoder.layers.encoder_layer_7.mlp.linear_{}.weight"
    renamed = from_torchvision(
        VARIANTS["vit_b_16"], {name.format(1): _random(1), name.format(2): _random(1)}
    )
    assert list(renamed) == ["stages.2.1.mlp.fc1.weight", "stages.2.1.mlp.fc2.weight"]
