"""Any network of timm behind the face of ours."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vertebra.anatomy import dissect
from vertebra.core import Notice, VertebraError
from vertebra.nn import Backbone
from vertebra.zoo import create, get, list_models, load_foreign, save_weights

# Of one resolution and of several, convolutional and not, with heads of several kinds.
NAMES = (
    "regnety_002 levit_128s mixer_b16_224 vit_tiny_patch16_224 vgg11_bn tf_efficientnetv2_b0 "
    "swinv2_tiny_window8_256 xcit_nano_12_p16_224 eva02_tiny_patch14_224 hrnet_w18_small "
    "maxvit_tiny_rw_224 nf_regnet_b0 coat_lite_tiny ghostnet_100 edgenext_xx_small"
).split()


def _meta(name: str, *arguments: int, **options: Any) -> Backbone:
    with torch.device("meta"):
        return create(f"timm/{name}", *arguments, seed=0, **options)


def _images(net: Backbone, device: str = "meta") -> Tensor:
    return torch.rand((2, *net.input_size), device=device)


@pytest.mark.parametrize("name", NAMES)
def test_the_face(name: str) -> None:
    net = _meta(name, 7).eval()
    x = _images(net)
    assert net(x).shape == (2, 7)
    assert net.forward_train(x).aux == ()
    assert net.embed(x).shape == (2, net.num_features)
    maps = net.features(x)
    assert 3 <= len(maps) == len(net.stage_info) <= 6
    for stage, info in zip(maps, net.stage_info, strict=True):
        assert stage.shape[1] == info.channels
        for side, whole in zip(stage.shape[2:], x.shape[2:], strict=True):
            assert abs(side - whole / info.reduction) <= 1
    assert [m.shape for m in net.features(x, [-1, 0])] == [maps[-1].shape, maps[0].shape]
    net.reset_head(3, dropout=0.1)
    assert net(x).shape == (2, 3)
    assert net.num_classes == 3


@pytest.mark.parametrize("name", NAMES)
def test_layer_groups_hold_every_parameter_once(name: str) -> None:
    net = _meta(name)
    grouped = [id(parameter) for _, group in net.layer_groups() for parameter in group]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in net.parameters()}


@pytest.mark.parametrize("name", ["regnety_002", "vit_tiny_patch16_224"])
def test_it_is_timms_network(name: str) -> None:
    theirs = timm.create_model(name).eval()
    net = create(f"timm/{name}", seed=0).eval()
    load_foreign(net, theirs.state_dict(), "timm")
    x = _images(net, "cpu")
    with torch.no_grad():
        assert torch.equal(net(x), theirs(x))
        assert torch.equal(net.embed(x), theirs.forward_head(theirs.forward_features(x), True))
        expected = theirs.forward_intermediates(x, indices=[-1], intermediates_only=True)[0]
        assert torch.equal(net.features(x)[-1], expected)


def test_equal_seeds_give_equal_weights_and_leave_the_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (create("timm/regnety_002", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    states = [net.state_dict()["net.stem.conv.weight"] for net in (one, two, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_it_learns() -> None:
    net = create("timm/regnety_002", 5, seed=0, drop_path=0.1)
    net.set_grad_checkpointing()
    F.cross_entropy(net(torch.randn(8, 3, 64, 64)), torch.arange(8) % 5).backward()
    assert all(bool(p.grad is not None and p.grad.isfinite().all()) for p in net.parameters())


def test_other_channels_classes_and_sizes() -> None:
    assert _meta("regnety_002", 4, 1).input_size == (1, 224, 224)
    net = _meta("vit_tiny_patch16_224", input_size=(3, 96, 96)).eval()
    assert net(torch.empty(1, 3, 96, 96, device="meta")).shape == (1, 1000)
    # A convolutional network takes no size, and every size.
    net = _meta("regnety_002", input_size=(3, 96, 96))
    assert net.input_size == (3, 96, 96)


@pytest.mark.filterwarnings("ignore::vertebra.core.Notice")
def test_saved_and_loaded(tmp_path: Path) -> None:
    for name in ("regnety_002", "vit_tiny_patch16_224"):
        net = create(f"timm/{name}", 5, seed=0).eval()
        save_weights(net, tmp_path / "weights.safetensors")
        again = create(f"timm/{name}", weights=tmp_path / "weights.safetensors").eval()
        x = _images(net, "cpu")
        with torch.no_grad():
            assert torch.equal(net(x), again(x))


def test_a_new_heads_dropout_is_the_heads_alone() -> None:
    net = create("timm/vit_tiny_patch16_224", 5, seed=0)
    net.reset_head(5, dropout=0.5)
    rates = {path: m.p for path, m in net.named_modules() if isinstance(m, nn.Dropout)}
    assert {path for path, rate in rates.items() if rate} == {"net.head_drop"}


@pytest.mark.filterwarnings("ignore::vertebra.core.Notice")
def test_weights_from_a_file(tmp_path: Path) -> None:
    theirs = timm.create_model("regnety_002").eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    net = create("timm/regnety_002", weights=str(tmp_path / "weights.pth")).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(x), theirs(x))
    other = create("timm/regnety_002", 9, 1, weights=str(tmp_path / "weights.pth"))
    assert len([note for note in other.notes if "keeps its" in note or "summed" in note]) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: create("timm/regnety_02"), "unknown timm model 'regnety_02'; did you mean"),
        (lambda: create("timm/vgg11", drop_path=0.1), "timm cannot build vgg11 so"),
        (lambda: create("timm/regnety_002", zero_init=True), "unknown option of timm"),
        (lambda: _meta("regnety_002").reset_head(3, pool="nonsense"), "timm cannot pool"),
        (lambda: _meta("regnety_002").reset_head(-1), "num_classes"),
        (lambda: _meta("regnety_002").features(torch.empty(1), [9]), "no stage 9"),
    ],
)
def test_what_timm_cannot_is_said(call: Any, message: str) -> None:
    with pytest.raises(VertebraError, match=message):
        call()


def test_listing_and_looking_up() -> None:
    names = list_models("timm/regnety_00*")
    assert "timm/regnety_002" in names
    assert names == [f"timm/{name}" for name in timm.list_models("regnety_00*")]
    entry = get("timm/regnety_002")
    assert entry.params == sum(p.numel() for p in timm.create_model("regnety_002").parameters())
    # timm's own table: 0.2 GMAC
    assert entry.macs == pytest.approx(0.2e9, rel=0.02)


def test_it_can_be_taken_apart() -> None:
    body = dissect(_meta("regnety_002"))
    assert body.stages[0].name == "stem"
    assert sum(stage.params for stage in body.stages) == body.params


def test_without_intermediate_maps_there_are_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    net = _meta("regnety_002")
    monkeypatch.setattr(net, "indices", [])
    with pytest.raises(VertebraError, match="no intermediate maps"):
        net.features(torch.empty(1, 3, 64, 64, device="meta"))
    assert isinstance(net.net, nn.Module)


@pytest.mark.parametrize(
    "name",
    "vit_tiny_patch16_224 inception_v4 regnety_032 nfnet_l0 tf_efficientnet_b0 mixer_b16_224 "
    "vit_base_patch16_clip_224.openai resnet50.a1_in1k".split(),
)
def test_preprocessing_is_what_timm_resolves(name: str) -> None:
    preprocessing = _meta(name).preprocessing
    config = timm.data.resolve_data_config({}, model=timm.create_model(name))
    assert preprocessing.mean == config["mean"]
    assert preprocessing.std == config["std"]
    assert preprocessing.interpolation == config["interpolation"]
    assert preprocessing.size == config["input_size"][-1]
    assert preprocessing.resize == int(preprocessing.size / config["crop_pct"])


def test_statistics_that_count_twice_are_told() -> None:
    with pytest.warns(Notice, match="count each batch twice"):
        _meta("resnet18").set_grad_checkpointing()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _meta("vit_tiny_patch16_224").set_grad_checkpointing()
