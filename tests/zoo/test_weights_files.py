"""Files of weights: whose they are, what is refused, and that ours come back."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from pretrained import equal, redrawn
from safetensors.torch import save_file
from torch import nn

from vertebra.core import Notice, Preprocessing, VertebraError
from vertebra.zoo import create, save_weights

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.core.Notice")


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_file_of_another_library(library: str, suffix: str, tmp_path: Path) -> None:
    """Whose names they are is found out: the two name layers differently."""
    if library == "timm":
        theirs = redrawn(timm.create_model("mobilenetv2_100"))
    else:
        theirs = redrawn(torchvision.models.mobilenet_v2())
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(theirs.state_dict(), path)
    assert equal(create("mobilenet_v2", weights=str(path)), theirs)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_what_training_scripts_wrap_around_weights(
    wrapper: str, resnet: nn.Module, tmp_path: Path
) -> None:
    state = {f"module.{name}": value for name, value in resnet.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3}, tmp_path / "weights.pth")
    assert equal(create("resnet18", weights=str(tmp_path / "weights.pth")), resnet)


def test_densenets_file_has_names_of_its_own(tmp_path: Path) -> None:
    """torchvision's published files say "norm.1" where its network says "norm1"."""
    theirs = redrawn(torchvision.models.densenet121())
    old = {}
    for name, value in theirs.state_dict().items():
        for part in ("norm", "relu", "conv"):
            for number in "12":
                name = name.replace(f".{part}{number}.", f".{part}.{number}.")
        old[name] = value
    assert set(old) != set(theirs.state_dict())
    torch.save(old, tmp_path / "densenet121.pth")
    assert equal(create("densenet121", weights=str(tmp_path / "densenet121.pth")), theirs)


def test_a_file_of_ours_keeps_what_belongs_to_it(tmp_path: Path) -> None:
    """timm trained MobileNetV3 with another eps than torchvision, whose is the default here."""
    theirs = redrawn(timm.create_model("mobilenetv3_small_100"))
    torch.save(theirs.state_dict(), tmp_path / "timm.pth")
    net = create("mobilenet_v3_small", weights=str(tmp_path / "timm.pth"))
    net.preprocessing = Preprocessing(192, 200, (0.5,) * 3, (0.25,) * 3, "bicubic")
    save_weights(net, tmp_path / "ours.safetensors")
    again = create("mobilenet_v3_small", weights=str(tmp_path / "ours.safetensors"))
    assert equal(again, theirs)
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


def test_pickle_is_what_the_refusal_speaks_of(tmp_path: Path) -> None:
    """A bare pickle, too."""
    (tmp_path / "bare.pth").write_bytes(pickle.dumps({"a": _Bomb(tmp_path / "ran")}))
    with pytest.raises(VertebraError):
        create("resnet18", weights=str(tmp_path / "bare.pth"))
    assert not (tmp_path / "ran").exists()


def test_weights_of_a_scaled_network(tmp_path: Path) -> None:
    """Its rows follow from the option, so the names must too."""
    net = create("efficientnet", phi=1.0, seed=0).eval()
    save_file(net.state_dict(), tmp_path / "phi.safetensors")
    again = create("efficientnet", phi=1.0, weights=str(tmp_path / "phi.safetensors"))
    assert equal(again, net)
    with pytest.raises(VertebraError, match="do not fit"):
        create("efficientnet", weights=str(tmp_path / "phi.safetensors"))


def test_a_network_of_the_same_names_is_another_one(tmp_path: Path) -> None:
    """resnet20 and its plain twin have the same names and shapes."""
    save_weights(create("resnet20", seed=0), tmp_path / "resnet20.safetensors")
    with pytest.raises(VertebraError, match="weights of resnet20, not of plain20"):
        create("plain20", weights=tmp_path / "resnet20.safetensors")


def test_the_pooling_comes_back(tmp_path: Path) -> None:
    net = create("vit_ti_16", 5, input_size=(3, 32, 32), seed=0)
    net.reset_head(5, pool="avg")
    save_weights(net, tmp_path / "avg.safetensors")
    with pytest.warns(Notice, match="saved with 'avg' pooling"):
        again = create("vit_ti_16", 5, weights=tmp_path / "avg.safetensors", input_size=(3, 32, 32))
    assert equal(again, net, torch.randn(2, 3, 32, 32))


def test_loading_leaves_the_generator_alone(resnet_file: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    create("resnet18", weights=resnet_file, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_compile_puts_before_names(prefix: str, resnet: nn.Module, tmp_path: Path) -> None:
    torch.save({prefix + k: v for k, v in resnet.state_dict().items()}, tmp_path / "w.pth")
    assert equal(create("resnet18", weights=tmp_path / "w.pth"), resnet)


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


@pytest.mark.parametrize(("weights", "averaged"), [("model", "model_ema"), ("state_dict", "ema")])
def test_averaged_weights_that_are_not_taken_are_told(
    weights: str, averaged: str, resnet: nn.Module, tmp_path: Path
) -> None:
    other = {name: value * 2 for name, value in resnet.state_dict().items()}
    torch.save({weights: resnet.state_dict(), averaged: other}, tmp_path / "w.pth")
    with pytest.warns(Notice, match=f"averaged weights too, as '{averaged}'"):
        net = create("resnet18", weights=tmp_path / "w.pth")
    assert equal(net, resnet)


def test_an_averaged_model_is_taken(resnet: nn.Module, tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(resnet)
    torch.save(averaged.state_dict(), tmp_path / "w.pth")
    assert equal(create("resnet18", weights=tmp_path / "w.pth"), resnet)


@pytest.mark.parametrize("name", ["ours.pth", "ours", "nowhere/ours.safetensors"])
def test_ours_are_saved_under_names_that_load(name: str, tmp_path: Path) -> None:
    with pytest.raises(VertebraError, match=r"\.safetensors files|no folder"):
        save_weights(create("lenet5", seed=0), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_newer_network_is_refused_in_words(tmp_path: Path) -> None:
    """ConvNeXt V2 has ConvNeXt's names, and more."""
    torch.save(timm.create_model("convnextv2_atto").state_dict(), tmp_path / "v2.pth")
    with pytest.raises(VertebraError, match="do not fit convnext_atto"):
        create("convnext_atto", weights=tmp_path / "v2.pth")


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    resnet_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(VertebraError, match=r"cannot be read: .*Permission denied"):
        create("resnet18", weights=resnet_file)
