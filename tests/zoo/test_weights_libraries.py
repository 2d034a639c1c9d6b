"""Weights by name, from what other libraries cached, and the preprocessing that they need."""

import socket
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from PIL import Image
from pretrained import equal
from safetensors.torch import save_file
from torch import Tensor, nn

from vertebra.core import Notice, Preprocessing, VertebraError
from vertebra.core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vertebra.data.transforms import normalise, prepare
from vertebra.zoo import create
from vertebra.zoo.downloads import torchvision_entries, torchvision_preprocessing

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.core.Notice")


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
    assert equal(net, resnet)
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
    assert equal(net, theirs, torch.randn(1, 3, 224, 224))
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


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_of_a_network_that_shifts_its_images_itself(name: str, tmp_path: Path) -> None:
    """Whoever follows the advice for no network must get the same preprocessing."""
    theirs = torchvision.models.get_model(name, init_weights=False)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    net = create(name, weights=tmp_path / "weights.pth")
    assert set(net.preprocessing.mean) == set(net.preprocessing.std) == {0.5}


@pytest.mark.parametrize(
    ("name", "filename", "expected"),
    [
        (
            "vit_ti_16",
            "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors",
            Preprocessing(224, 248, (0.5,) * 3, (0.5,) * 3, "bicubic"),
        ),
        ("resnet18", "resnet18-f37072fd.pth", Preprocessing(224, 256, IMAGENET_MEAN, IMAGENET_STD)),
    ],
)
def test_a_file_called_as_published_keeps_its_preprocessing(
    name: str, filename: str, expected: Preprocessing, tmp_path: Path
) -> None:
    """Whoever follows the advice for no network passes such a file."""
    if filename.endswith(".pth"):
        torch.save(torchvision.models.get_model(name).state_dict(), tmp_path / filename)
    else:
        save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / filename)
    with pytest.warns(Notice, match=f"{filename} is called as"):
        net = create(name, weights=tmp_path / filename)
    assert net.preprocessing == expected
    assert not any("does not say" in note for note in net.notes)


def test_a_file_called_as_another_network_is_refused(tmp_path: Path) -> None:
    """Same names and shapes, other padding."""
    path = tmp_path / "tf_efficientnet_b0.in1k.safetensors"
    save_file(timm.create_model("tf_efficientnet_b0").state_dict(), path)
    with pytest.raises(VertebraError, match="another network than efficientnet_b0"):
        create("efficientnet_b0", weights=path)
