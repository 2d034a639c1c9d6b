"""Pretrained weights: from files, from what other libraries cached, and what is adapted."""

import pickle
import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from vertebra.core import Notice, Preprocessing, VertebraError
from vertebra.data.transforms import normalise, prepare
from vertebra.zoo import create, save_weights
from vertebra.zoo.downloads import torchvision_entries, torchvision_preprocessing

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.core.Notice")


def _images(channels: int = 3) -> Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(0))


def _redrawn(net: nn.Module) -> nn.Module:
    """Statistics that differ from their start, so that a lost one shows."""
    torch.manual_seed(0)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return _redrawn(torchvision.models.resnet18())


@pytest.fixture
def resnet_file(resnet: nn.Module, tmp_path: Path) -> str:
    path = tmp_path / "resnet18.pth"
    torch.save(resnet.state_dict(), path)
    return str(path)


def _equal(one: nn.Module, other: nn.Module, x: Tensor | None = None) -> bool:
    x = _images() if x is None else x
    with torch.no_grad():
        return torch.allclose(one.eval()(x), other.eval()(x), atol=1e-5)


# Files.


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_file_of_another_library(library: str, suffix: str, tmp_path: Path) -> None:
    """Whose names they are is found out: the two name layers differently."""
    if library == "timm":
        theirs = _redrawn(timm.create_model("mobilenetv2_100"))
    else:
        theirs = _redrawn(torchvision.models.mobilenet_v2())
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(theirs.state_dict(), path)
    assert _equal(create("mobilenet_v2", weights=str(path)), theirs)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_what_training_scripts_wrap_around_weights(
    wrapper: str, resnet: nn.Module, tmp_path: Path
) -> None:
    state = {f"module.{name}": value for name, value in resnet.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "weights.pth")
    assert _equal(create("resnet18", weights=str(tmp_path / "weights.pth")), resnet)


def test_densenets_file_has_names_of_its_own(tmp_path: Path) -> None:
    """torchvision's published files say "norm.1" where its network says "norm1"."""
    theirs = _redrawn(torchvision.models.densenet121())
    old = {}
    for name, value in theirs.state_dict().items():
        for part in ("norm", "relu", "conv"):
            for number in "12":
                name = name.replace(f".{part}{number}.", f".{part}.{number}.")
        old[name] = value
    assert set(old) != set(theirs.state_dict())
    torch.save(old, tmp_path / "densenet121.pth")
    assert _equal(create("densenet121", weights=str(tmp_path / "densenet121.pth")), theirs)


def test_a_file_of_ours_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    """timm trained MobileNetV3 with another eps than torchvision, whose is the default here."""
    theirs = _redrawn(timm.create_model("mobilenetv3_small_100"))
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    net = create("mobilenet_v3_small", weights=str(tmp_path / "timm.pth"))
    net.preprocessing = Preprocessing(192, 200, (0.5,) * 3, (0.25,) * 3, "bicubic")
    save_weights(net, tmp_path / "ours.safetensors")
    again = create("mobilenet_v3_small", weights=str(tmp_path / "ours.safetensors"))
    assert _equal(again, theirs)
    assert again.preprocessing == net.preprocessing
    assert {m.eps for m in again.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    fresh = create("mobilenet_v3_small", seed=0)
    assert {m.eps for m in fresh.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


class _Bomb:
    """What a pickle can do to who loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": _Bomb(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(VertebraError, match="could run code"):
        create("resnet18", weights=str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()
    # The same file does run for who trusts it: the test would notice.
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 half a zip"])
def test_what_is_no_file_of_weights_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(VertebraError, match=r"weights\.(pth|safetensors) is"):
        create("resnet18", weights=str(path))


def test_a_file_cut_short_is_refused(resnet_file: str) -> None:
    whole = Path(resnet_file).read_bytes()
    Path(resnet_file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VertebraError, match=r"resnet18\.pth is no PyTorch file"):
        create("resnet18", weights=resnet_file)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"state_dict": {"a": "b"}}])
def test_a_file_of_something_else_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(VertebraError, match="no state dict"):
        create("resnet18", weights=str(tmp_path / "other.pth"))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(VertebraError, match=r"no file of weights at nowhere\.pth"):
        create("resnet18", weights="nowhere.pth")


def test_weights_of_another_network_are_refused(resnet_file: str) -> None:
    with pytest.raises(VertebraError, match="do not fit resnet34"):
        create("resnet34", weights=resnet_file)


# What is adapted, and said.


def test_other_classes_start_afresh(resnet: nn.Module, resnet_file: str) -> None:
    with pytest.warns(Notice, match="the weights have 1000 classes and this network 7"):
        net = create("resnet18", 7, weights=resnet_file, seed=0)
    fresh = create("resnet18", 7, seed=0)
    assert torch.equal(net.head.fc.weight, fresh.head.fc.weight)
    assert any("1000 classes" in note for note in net.notes)
    body = nn.Sequential(*list(resnet.children())[:-1])
    with torch.no_grad():
        assert torch.allclose(net.eval().embed(_images()), body(_images()).flatten(1), atol=1e-5)


def test_no_classes_need_no_word(resnet_file: str) -> None:
    net = create("resnet18", 0, weights=resnet_file)
    assert not any("the weights have" in note for note in net.notes)


def test_a_grey_image_gives_what_its_rgb_copy_gives(resnet: nn.Module, resnet_file: str) -> None:
    with pytest.warns(Notice, match="take 3 channels and this network 1"):
        net = create("resnet18", in_chans=1, weights=resnet_file).eval()
    grey = _images(1)
    with torch.no_grad():
        assert torch.allclose(net(grey), resnet(grey.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 5, 6])
def test_more_channels_repeat_the_kernels(
    channels: int, resnet: nn.Module, resnet_file: str
) -> None:
    """As timm does it, to the bit."""
    with pytest.warns(Notice, match=f"and this network {channels}"):
        net = create("resnet18", in_chans=channels, weights=resnet_file)
    kernels = timm.models.adapt_input_conv(channels, resnet.conv1.weight.detach())
    assert torch.equal(net.stem[0].conv.weight, kernels)
    assert net.preprocessing.channels == channels


def test_auxiliary_heads_may_be_left_out(tmp_path: Path) -> None:
    theirs = torchvision.models.googlenet(init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "googlenet.pth")
    net = create("googlenet", weights=str(tmp_path / "googlenet.pth"), aux_heads=False)
    assert _equal(net, theirs)


def test_auxiliary_heads_that_the_weights_lack_are_told(tmp_path: Path) -> None:
    theirs = timm.create_model("inception_v3", aux_logits=False)
    torch.save(theirs.state_dict(), tmp_path / "inception.pth")
    with pytest.warns(Notice, match="no auxiliary heads"):
        net = create("inception_v3", weights=str(tmp_path / "inception.pth"))
    x = torch.randn(1, 3, 107, 107)
    assert _equal(net, theirs, x)


def test_positions_follow_the_image_size(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224")
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    with pytest.warns(Notice, match="position"):
        net = create("vit_ti_16", weights=str(tmp_path / "vit.pth"), input_size=(3, 96, 160))
    resized = timm.create_model("vit_tiny_patch16_224", img_size=(96, 160))
    state = timm.models.vision_transformer.checkpoint_filter_fn(theirs.state_dict(), resized)
    resized.load_state_dict(state)
    assert _equal(net, resized, torch.randn(1, 3, 96, 160))


def test_meta_has_no_place_for_weights(resnet_file: str) -> None:
    with torch.device("meta"), pytest.raises(VertebraError, match="meta"):
        create("resnet18", weights=resnet_file)


# Preprocessing.


def _picture() -> Image.Image:
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (7, 9, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(small.numpy()).resize((431, 367), Image.Resampling.BICUBIC)


def _ours(preprocessing: Preprocessing) -> Tensor:
    image = torchvision.transforms.functional.pil_to_tensor(_picture())
    return normalise(prepare(image, preprocessing)[None], preprocessing)[0]


WITH_WEIGHTS = ["resnet50", "efficientnet_b4", "inception_v3", "googlenet", "vit_b_16", "swin_t"]


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_preprocessing_is_torchvisions(name: str) -> None:
    """Within two of 255 steps: PIL rounds a resized image to whole ones in another order."""
    for entry in torchvision_entries(name):
        preprocessing = torchvision_preprocessing(name, entry)
        expected = entry.transforms()(_picture())
        if name in ("googlenet", "inception_v3"):
            expected = torchvision.models.get_model(
                name, init_weights=False, transform_input=True
            )._transform_input(expected[None])[0]
            assert set(preprocessing.mean) == set(preprocessing.std) == {0.5}
        step = 1 / 255 / min(preprocessing.std)
        ours = _ours(preprocessing)
        assert ours.shape == expected.shape
        assert float((ours - expected).abs().max()) <= 2.01 * step
        assert float((ours - expected).abs().mean()) <= 0.5 * step


def test_weights_of_one_network_differ_in_preprocessing() -> None:
    """So that the test above cannot pass with one transform for all."""
    found = {torchvision_preprocessing("vit_b_16", e) for e in torchvision_entries("vit_b_16")}
    assert {preprocessing.size for preprocessing in found} == {224, 384}
    assert {p.interpolation for p in found} == {"bilinear", "bicubic"}


# Libraries' caches, and no network.


def test_torchvisions_cache_is_used(
    resnet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library would have downloaded lies where it looks for it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    filename = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(resnet.state_dict(), folder / filename)
    net = create("resnet18", weights="DEFAULT")
    assert _equal(net, resnet)
    assert net.notes == ()
    assert (net.preprocessing.size, net.preprocessing.resize) == (224, 256)


def test_the_hubs_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """vit_tiny's tag has mean 0.5 and a crop of 0.9, which come along."""
    theirs = timm.create_model("vit_tiny_patch16_224").eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda repository, filename: str(tmp_path / "model.safetensors"),
    )
    net = create("vit_ti_16", weights="timm:augreg_in21k_ft_in1k")
    assert _equal(net, theirs, torch.randn(1, 3, 224, 224))
    assert net.preprocessing == Preprocessing(224, 248, (0.5,) * 3, (0.5,) * 3, "bicubic")
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(
            timm.create_model("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
        )
    )
    assert float((_ours(net.preprocessing) - transform(_picture())).abs().max()) <= 2.01 / 127.5


def _refuse(*_args: Any, **_kwargs: Any) -> Any:
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("weights", "filename", "address"),
    [
        ("IMAGENET1K_V1", "resnet18-f37072fd.pth", "https://download.pytorch.org/models/resnet18"),
        ("timm:a1_in1k", "resnet18.a1_in1k.safetensors", "/timm/resnet18.a1_in1k/resolve/main"),
    ],
)
def test_without_a_network_the_way_is_told(
    weights: str, filename: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(socket, "getaddrinfo", _refuse)
    for proxy in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(VertebraError) as caught:
        create("resnet18", weights=weights)
    told = str(caught.value)
    assert f"cannot fetch {filename}" in told
    assert "curl -L" in told
    assert address in told
    assert f"weights='PATH/{filename}'" in told
    if weights.startswith("IMAGENET"):
        assert f"put it into {tmp_path}/hub/checkpoints" in told


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "DEFUALT", "did you mean DEFAULT"),
        ("resnet18", "IMAGENET1K_V2", "did you mean IMAGENET1K_V1"),
        ("resnet18", "timm:a1_in1", "did you mean a1_in1k"),
        ("resnet20", "DEFAULT", "torchvision has no weights of resnet20; a path"),
        ("resnet20", "timm:a1", "timm has no weights for resnet20"),
        ("resnet18", "folder/weights.py", "must end in .safetensors"),
        ("lenet5", "timm:x", "timm has no weights for lenet5"),
        ("convnext_atto", "DEFAULT", "'timm:TAG' takes timm's"),
    ],
)
def test_weights_that_do_not_exist(name: str, weights: str, message: str) -> None:
    with pytest.raises(VertebraError, match=message):
        create(name, weights=weights)


def test_pickle_is_what_the_refusal_speaks_of(tmp_path: Path) -> None:
    """A bare pickle, too."""
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"a": _Bomb(tmp_path / "ran")}))
    with pytest.raises(VertebraError):
        create("resnet18", weights=str(tmp_path / "bare.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_no_numbers_are_told(resnet: nn.Module, tmp_path: Path) -> None:
    """torchvision's VGG-16 of the original paper has such a head."""
    state = {name: value.clone() for name, value in resnet.state_dict().items()}
    state["fc.weight"].fill_(torch.nan)
    torch.save(state, tmp_path / "body.pth")
    with pytest.warns(Notice, match=r"no numbers, in head\.fc\.weight"):
        create("resnet18", weights=str(tmp_path / "body.pth"))
    net = create("resnet18", 5, weights=str(tmp_path / "body.pth"))
    assert not any("no numbers" in note for note in net.notes)


def test_weights_of_a_scaled_network(tmp_path: Path) -> None:
    """Its rows follow from the option, so the names must too."""
    net = create("efficientnet", phi=1.0, seed=0).eval()
    save_file(net.state_dict(), tmp_path / "phi.safetensors")
    again = create("efficientnet", phi=1.0, weights=str(tmp_path / "phi.safetensors"))
    assert _equal(again, net)
    with pytest.raises(VertebraError, match="do not fit"):
        create("efficientnet", weights=str(tmp_path / "phi.safetensors"))


def test_the_classes_of_the_weights_are_kept_unless_others_are_asked_for(
    resnet: nn.Module, tmp_path: Path
) -> None:
    theirs = _redrawn(torchvision.models.resnet18(num_classes=7))
    torch.save(theirs.state_dict(), tmp_path / "seven.pth")
    with pytest.warns(Notice, match="7 classes, and so has this network"):
        net = create("resnet18", weights=tmp_path / "seven.pth")
    assert _equal(net, theirs)


def test_a_network_of_the_same_names_is_another_one(tmp_path: Path) -> None:
    """resnet20 and its plain twin have the same names and shapes."""
    save_weights(create("resnet20", seed=0), tmp_path / "resnet20.safetensors")
    with pytest.raises(VertebraError, match="weights of resnet20, not of plain20"):
        create("plain20", weights=tmp_path / "resnet20.safetensors")


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("efficientnet_b0", "timm:tf_efficientnet_b0.in1k"),
        ("resnet50_v1", "timm:resnet50.a1_in1k"),
        ("resnet50", "timm:resnetaa50.a1h_in1k"),
    ],
)
def test_timms_other_networks_of_the_same_names_are_refused(name: str, weights: str) -> None:
    with pytest.raises(VertebraError, match=r"another network|timm has no weights"):
        create(name, weights=weights)


def test_the_pooling_comes_back(tmp_path: Path) -> None:
    net = create("vit_ti_16", 5, input_size=(3, 32, 32), seed=0)
    net.reset_head(5, pool="avg")
    save_weights(net, tmp_path / "avg.safetensors")
    with pytest.warns(Notice, match="saved with 'avg' pooling"):
        again = create("vit_ti_16", 5, weights=tmp_path / "avg.safetensors", input_size=(3, 32, 32))
    assert _equal(again, net, torch.randn(2, 3, 32, 32))


def test_weights_of_averaged_tokens_do_not_fit_a_class_token(tmp_path: Path) -> None:
    """timm calls their norms otherwise; read as one, an untrained token would be classified."""
    theirs = timm.create_model("vit_tiny_patch16_224", global_pool="avg")
    torch.save(theirs.state_dict(), tmp_path / "avg.pth")
    with pytest.raises(VertebraError, match="fc_norm"):
        create("vit_ti_16", weights=tmp_path / "avg.pth")
    net = create("vit_ti_16", weights=tmp_path / "avg.pth", pool="avg")
    assert _equal(net, theirs, torch.randn(2, 3, 224, 224))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_of_a_network_that_shifts_its_images_itself(name: str, tmp_path: Path) -> None:
    """Whoever follows the advice for no network must get the same preprocessing."""
    theirs = torchvision.models.get_model(name, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    net = create(name, weights=tmp_path / "weights.pth")
    assert set(net.preprocessing.mean) == set(net.preprocessing.std) == {0.5}


def test_square_positions_do_not_pass_for_oblong_ones(tmp_path: Path) -> None:
    """14x14 and 7x28 patches are as many."""
    theirs = timm.create_model("vit_tiny_patch16_224")
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    oblong = {"input_size": (3, 112, 448)}
    with pytest.warns(Notice, match="positions for 14x14 patches and this network has 7x28"):
        net = create("vit_ti_16", weights=tmp_path / "vit.pth", **oblong)
    save_weights(net, tmp_path / "oblong.safetensors")
    again = create("vit_ti_16", weights=tmp_path / "oblong.safetensors", **oblong)
    assert torch.equal(again.stem.positions, net.stem.positions)


def test_loading_leaves_the_generator_alone(resnet_file: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    create("resnet18", weights=resnet_file, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_compile_puts_before_names(prefix: str, resnet: nn.Module, tmp_path: Path) -> None:
    torch.save({prefix + k: v for k, v in resnet.state_dict().items()}, tmp_path / "w.pth")
    assert _equal(create("resnet18", weights=tmp_path / "w.pth"), resnet)


def test_whole_numbers_are_no_weights(resnet: nn.Module, tmp_path: Path) -> None:
    state = {name: (value * 10).to(torch.int8) for name, value in resnet.state_dict().items()}
    torch.save(state, tmp_path / "int8.pth")
    with pytest.raises(VertebraError, match=r"whole numbers in 'conv1\.weight'"):
        create("resnet18", weights=tmp_path / "int8.pth")


@pytest.mark.parametrize("weights", [5, True, ["a"]])
def test_weights_must_be_a_name_or_a_path(weights: Any) -> None:
    with pytest.raises(VertebraError, match="a name or a path"):
        create("resnet18", weights=weights)


@pytest.mark.parametrize("metadata", ["{", "{}", '{"schema": "vertebra.weights/9"}'])
def test_metadata_that_is_not_understood(metadata: str, resnet: nn.Module, tmp_path: Path) -> None:
    save_file(resnet.state_dict(), tmp_path / "w.safetensors", metadata={"vertebra": metadata})
    with pytest.raises(VertebraError, match="says in no way known here"):
        create("resnet18", weights=tmp_path / "w.safetensors")
