"""The page that ``vertebra show --html`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vertebra.cli import output

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vertebra.cli.findings import Findings
    from vertebra.core import Preprocessing


@dataclass(frozen=True)
class Extras:
    """What is drawn on the page on request."""

    image: Path | None
    convolution: str | None
    effective: bool

    @property
    def weighty(self) -> bool:
        """Whether anything is worked out with the network's weights."""
        return bool(self.convolution or self.effective)


def check(path: Path | None, extras: Extras) -> None:
    """Refuse a page that could not be written, before the work is done."""
    from vertebra.core import VertebraError

    if path is None:
        if extras.image or extras.weighty:
            raise VertebraError("--image, --convolution and --effective belong to --html page.html")
        return
    if path.is_dir():
        raise VertebraError(f"--html takes a file, and {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise VertebraError(f"there is no folder {path.parent} to write {path.name} into")


def write(path: Path, target: str, found: Findings, extras: Extras) -> None:
    """The network on one page; with its weights where something is to be worked out."""
    from vertebra.anatomy import effective_field, network_page, work_through
    from vertebra.core import VertebraError
    from vertebra.data import photograph, picture

    body, given = found.body, found.subject.inputs
    images = len(given) == 1 and given[0].ndim == 4
    if not images and (extras.image or extras.weighty):
        raise VertebraError(f"{found.name} takes no single image to work anything out on")
    worked, field, drawn = None, None, None
    if images:
        _, channels, height, width = body.input_shape
        preprocessing = _preprocessing(found.subject.net, (channels, height, width))
        pixels = photograph(extras.image, preprocessing, (height, width))
        drawn = picture(pixels)
        _say(target, found.name, extras)
        net = _with_weights(target, (channels, height, width)) if extras.weighty else None
        if net is not None and extras.convolution:
            fed = _fed(pixels, preprocessing, given[0])
            worked = work_through(net, fed, extras.convolution)
        if net is not None and extras.effective:
            field = effective_field(net, (channels, height, width))
    network_page(
        body,
        found.name,
        picture=drawn,
        memory=found.memory,
        largest=(found.limit, found.largest) if found.limit else None,
        roofline=(found.roof, found.bounds) if found.roof and found.bounds else None,
        worked=worked,
        effective=field,
    ).write(path)


def _fed(pixels: Tensor, preprocessing: Preprocessing, like: Tensor) -> Tensor:
    """The pixels as the network takes them: normalised, or as they are where it takes integers."""
    from vertebra.data import normalise

    if not like.is_floating_point():
        return pixels[None].to(like.dtype)
    return normalise(pixels[None], preprocessing).to(like.dtype)


def _say(target: str, name: str, extras: Extras) -> None:
    """What was chosen without being asked for."""
    if extras.image is None:
        output.notice("drawn on scikit-learn's sample photograph; --image takes yours")
    if extras.weighty and not Path(target).is_dir():
        output.notice(f"worked out with the weights that {name} starts from, not trained ones")


def _with_weights(target: str, size: tuple[int, int, int]) -> nn.Module:
    """The network with numbers: a run's trained ones, else those it starts from."""
    if Path(target).is_dir():
        from vertebra.train import load_model

        return load_model(target)
    from vertebra.zoo.subjects import subject

    return subject(target, size, numbers=True)[0].eval()


def _preprocessing(net: nn.Module, size: tuple[int, int, int]) -> Preprocessing:
    """What belongs to the network, if it says so, else ImageNet's."""
    from vertebra.core import Preprocessing as New
    from vertebra.core.preprocessing import channel_statistics

    channels, side = size[0], min(size[1:])
    own = getattr(net, "preprocessing", None)
    if isinstance(own, New):
        return own.for_size(side).for_channels(channels)
    return New(side, side, *channel_statistics(channels))
