"""What is adapted where weights fit but for their ends, and that it is told."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from pretrained import equal, images, redrawn
from torch import nn

from vertebra.core import Notice, VertebraError
from vertebra.zoo import create, save_weights

pytestmark = pytest.mark.filterwarnings("ignore::vertebra.core.Notice")


def test_other_classes_start_afresh(resnet: nn.Module, resnet_file: str) -> None:
    with pytest.warns(Notice, match="the weights have 1000 classes and this network 7"):
        net = create("resnet18", 7, weights=resnet_file, seed=0)
    fresh = create("resnet18", 7, seed=0)
    assert torch.equal(net.head.fc.weight, fresh.head.fc.weight)
    assert any("1000 classes" in note for note in net.notes)
    body = nn.Sequential(*list(resnet.children())[:-1])
    with torch.no_grad():
        assert torch.allclose(net.eval().embed(images()), body(images()).flatten(1), atol=1e-5)


def test_no_classes_need_no_word(resnet_file: str) -> None:
    net = create("resnet18", 0, weights=resnet_file)
    assert not any("the weights have" in note for note in net.notes)


def test_a_grey_image_gives_what_its_rgb_copy_gives(resnet: nn.Module, resnet_file: str) -> None:
    with pytest.warns(Notice, match="take 3 channels and this network 1"):
        net = create("resnet18", in_chans=1, weights=resnet_file).eval()
    grey = images(1)
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
    assert equal(net, theirs)


def test_auxiliary_heads_that_the_weights_lack_are_told(tmp_path: Path) -> None:
    theirs = timm.create_model("inception_v3", aux_logits=False)
    torch.save(theirs.state_dict(), tmp_path / "inception.pth")
    with pytest.warns(Notice, match="no auxiliary heads"):
        net = create("inception_v3", weights=str(tmp_path / "inception.pth"))
    x = torch.randn(1, 3, 107, 107)
    assert equal(net, theirs, x)


def test_positions_follow_the_image_size(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_tiny_patch16_224")
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    with pytest.warns(Notice, match="position"):
        net = create("vit_ti_16", weights=str(tmp_path / "vit.pth"), input_size=(3, 96, 160))
    resized = timm.create_model("vit_tiny_patch16_224", img_size=(96, 160))
    state = timm.models.vision_transformer.checkpoint_filter_fn(theirs.state_dict(), resized)
    resized.load_state_dict(state)
    assert equal(net, resized, torch.randn(1, 3, 96, 160))


def test_meta_has_no_place_for_weights(resnet_file: str) -> None:
    with torch.device("meta"), pytest.raises(VertebraError, match="meta"):
        create("resnet18", weights=resnet_file)


def test_weights_that_are_no_numbers_are_told(resnet: nn.Module, tmp_path: Path) -> None:
    """torchvision's VGG-16 of the original paper has such a head."""
    state = {name: value.clone() for name, value in resnet.state_dict().items()}
    state["fc.weight"].fill_(torch.nan)
    torch.save(state, tmp_path / "body.pth")
    with pytest.warns(Notice, match=r"no numbers, in head\.fc\.weight"):
        create("resnet18", weights=str(tmp_path / "body.pth"))
    net = create("resnet18", 5, weights=str(tmp_path / "body.pth"))
    assert not any("no numbers" in note for note in net.notes)


def test_the_classes_of_the_weights_are_kept_unless_others_are_asked_for(
    resnet: nn.Module, tmp_path: Path
) -> None:
    theirs = redrawn(torchvision.models.resnet18(num_classes=7))
    torch.save(theirs.state_dict(), tmp_path / "seven.pth")
    with pytest.warns(Notice, match="7 classes, and so has this network"):
        net = create("resnet18", weights=tmp_path / "seven.pth")
    assert equal(net, theirs)


def test_weights_of_averaged_tokens_do_not_fit_a_class_token(tmp_path: Path) -> None:
    """timm calls their norms otherwise; read as one, an untrained token would be classified."""
    theirs = timm.create_model("vit_tiny_patch16_224", global_pool="avg")
    torch.save(theirs.state_dict(), tmp_path / "avg.pth")
    with pytest.raises(VertebraError, match="fc_norm"):
        create("vit_ti_16", weights=tmp_path / "avg.pth")
    net = create("vit_ti_16", weights=tmp_path / "avg.pth", pool="avg")
    assert equal(net, theirs, torch.randn(2, 3, 224, 224))


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
