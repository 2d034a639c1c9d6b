"""The page that ``vertebra show --html`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.cli import output

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from vertebra.anatomy import Anatomy, Memory
    from vertebra.cli.targets import Subject
    from vertebra.core import Preprocessing


def write(
    path: Path,
    target: str,
    subject: Subject,
    body: Anatomy,
    memory: Memory | None,
    image: Path | None,
    convolution: str | None,
    effective: bool,
) -> None:
    """Take the network apart on one page; with its weights where something is to be worked out."""
    from vertebra.anatomy import effective_field, network_page, work_through
    from vertebra.core import VertebraError
    from vertebra.data.transforms import normalise

    shape = body.input_shape
    pixels = _photograph(image, subject.net, shape) if len(shape) == 4 else None
    if pixels is None and (convolution or effective or image):
        raise VertebraError(f"{subject.name} takes no images to work anything out on")
    worked, field, picture = None, None, None
    if pixels is not None:
        picture = _picture(pixels)
        size = (shape[1], shape[2], shape[3])
        _say(target, subject.name, image, bool(convolution or effective))
        net = _with_weights(target, size) if convolution or effective else subject.net
        images = normalise(pixels[None], _preprocessing(subject.net, shape))
        worked = work_through(net, images, convolution) if convolution else None
        field = effective_field(net, size) if effective else None
    network_page(
        body, subject.name, picture=picture, memory=memory, worked=worked, effective=field
    ).write(path)


def check(path: Path) -> None:
    """Refuse a page that could not be written, before the work is done."""
    from vertebra.core import VertebraError

    if path.is_dir():
        raise VertebraError(f"--html takes a file, and {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise VertebraError(f"there is no folder {path.parent} to write {path.name} into")


def _say(target: str, name: str, image: Path | None, weights: bool) -> None:
    """What was chosen without being asked for."""
    if image is None:
        output.notice("drawn on scikit-learn's sample photograph; --image takes yours")
    if weights and not Path(target).is_dir():
        output.notice(f"worked out with the weights that {name} starts from, not trained ones")


def _with_weights(target: str, size: tuple[int, int, int]) -> nn.Module:
    """The network with numbers: a run's trained ones, else those it starts from."""
    if Path(target).is_dir():
        from vertebra.train import load_model

        return load_model(target)
    from vertebra.zoo.subjects import subject

    return subject(target, size, numbers=True)[0].eval()


def _preprocessing(net: nn.Module, shape: tuple[int, ...]) -> Preprocessing:
    """What belongs to the network, if it says so, else ImageNet's."""
    from vertebra.core import Preprocessing as New
    from vertebra.core.preprocessing import channel_statistics

    own = getattr(net, "preprocessing", None)
    if isinstance(own, New):
        return own.for_size(min(shape[2:])).for_channels(shape[1])
    return New(min(shape[2:]), min(shape[2:]), *channel_statistics(shape[1]))


def _photograph(path: Path | None, net: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """uint8 (C, H, W): the user's image, or a photograph that scikit-learn ships."""
    import torch
    from torchvision.transforms.v2 import functional as tvf

    from vertebra.data import decode
    from vertebra.data.transforms import prepare

    if path is not None:
        image = decode(path, shape[1])
    else:
        from sklearn.datasets import load_sample_image

        image = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1)
        if shape[1] != 3:
            image = tvf.rgb_to_grayscale(image).expand(shape[1], -1, -1)
    if shape[2] == shape[3]:
        return prepare(image, _preprocessing(net, shape))
    scale = max(shape[2] / image.shape[1], shape[3] / image.shape[2])
    sides = zip(image.shape[1:], shape[2:], strict=True)
    larger = [max(round(side * scale), least) for side, least in sides]
    cut: Tensor = tvf.center_crop(tvf.resize(image, larger), list(shape[2:]))
    return cut


def _picture(pixels: Tensor) -> Image:
    """To look at: the first three channels, or the first one in grey."""
    from PIL import Image as Images

    shown = pixels[:3] if len(pixels) >= 3 else pixels[:1].expand(3, -1, -1)
    return Images.fromarray(shown.permute(1, 2, 0).contiguous().numpy())
