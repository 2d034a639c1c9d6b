"""Any network of timm behind the face of ours: ``create("timm/regnety_002")``.

What timm cannot give is said: a network without intermediate maps has no ``features``, and an
argument that its constructor does not take is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertebra.core import Notice, Preprocessing, VertebraError, unknown
from vertebra.zoo.family import Family, Request, Row, Source, StateDict

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone

PREFIX = "timm/"
# Networks of one resolution give this many maps, from equal groups of their blocks.
GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class TimmRow(Row):
    """``preprocessing`` is that of timm's default weights, None where unknown."""

    preprocessing: Preprocessing | None = None


def list_names(pattern: str) -> list[str]:
    """Every name that matches "timm/PATTERN"."""
    import timm

    return [PREFIX + name for name in timm.list_models(pattern.removeprefix(PREFIX))]


def family(name: str) -> Family:
    """A family of the one network ``name`` ("timm/NAME" or "timm/NAME.TAG").

    Raises:
        VertebraError: timm has no such network.
    """
    import timm

    full = name.removeprefix(PREFIX)
    base = full.partition(".")[0]
    if not timm.is_model(base):
        known = timm.list_models()
        raise unknown("timm model", base, known)
    config = timm.get_pretrained_cfg(full, allow_unregistered=True)
    size: tuple[int, int, int] = config.input_size if config else (3, 224, 224)
    row = TimmRow(
        year=0,
        paper="see timm",
        timm=full,
        input_size=size,
        num_classes=config.num_classes if config else 1000,
        preprocessing=_preprocessing(full, config),
    )
    return Family("timm", {name: row}, build, init=None, sources={"timm": Source(_prefixed)})


def timm_preprocessing(full: str, config: Any) -> Preprocessing:
    """The evaluation transform that a timm configuration describes, at the size of training.

    The shorter side is resized to size / crop_pct, rounded down as timm does.

    Raises:
        VertebraError: images are not cut from the centre there, which is all that we have.
    """
    if config.crop_mode != "center":
        raise VertebraError(
            f"timm prepares images for {full} by '{config.crop_mode}' and not by a crop of the "
            f"centre, which preprocessing cannot describe; load its file by path to go without"
        )
    size = config.input_size[-1]
    return Preprocessing(
        size=size,
        resize=int(size / config.crop_pct),
        mean=tuple(config.mean),
        std=tuple(config.std),
        interpolation=config.interpolation,
    )


def _preprocessing(full: str, config: Any) -> Preprocessing | None:
    """What timm says of the network; None where it says nothing that we can describe."""
    if config is None:
        return None
    try:
        return timm_preprocessing(full, config)
    except VertebraError:
        return None


def build(name: str, row: TimmRow, request: Request) -> Backbone:
    """Build timm's network as timm initialises it, from the request's seed.

    Raises:
        VertebraError: the network takes no such argument.
    """
    import timm
    import torch

    from vertebra.core import address
    from vertebra.zoo.timm_backbone import TimmBackbone

    given: dict[str, Any] = {}
    if request.drop_path:
        given["drop_path_rate"] = request.drop_path
    if request.dropout:
        given["drop_rate"] = request.dropout
    if request.input_size[1:] != row.input_size[1:]:
        given["img_size"] = request.input_size[1:]
    # timm draws from the global generators, which the caller has forked.
    torch.default_generator.manual_seed(address(request.seed, "init", name))
    try:
        net = _create(timm, row.timm, request, given)
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise VertebraError(f"timm cannot build {row.timm} so: {error}") from None
    backbone = TimmBackbone(name, net, _maps(net), request)
    channels, size = request.input_size[:2]
    if row.preprocessing is None:
        warnings.warn(
            f"how timm prepares images for {row.timm} is unknown, or no crop of the centre: "
            f"net.preprocessing is ImageNet's usual one",
            Notice,
            stacklevel=3,
        )
    else:
        backbone.preprocessing = row.preprocessing.for_channels(channels).for_size(size)
    return backbone


def _create(timm: Any, name: str, request: Request, given: Mapping[str, Any]) -> Any:
    common = {"num_classes": request.num_classes, "in_chans": request.in_chans}
    try:
        return timm.create_model(name, pretrained=False, **common, **given)
    except TypeError as error:
        if "img_size" not in given or "img_size" not in str(error):
            raise
    # Convolutional networks take every size and no such argument.
    rest = {key: value for key, value in given.items() if key != "img_size"}
    return timm.create_model(name, pretrained=False, **common, **rest)


def _maps(net: Any) -> list[tuple[int, int, int]]:
    """(index, channels, reduction) of the maps that stand for stages; empty where timm has none."""
    info = getattr(net, "feature_info", None)
    entries: Sequence[Mapping[str, Any]] = getattr(info, "info", info) or ()
    if not hasattr(net, "forward_intermediates"):
        return []
    rows = [(index, e["num_chs"], e["reduction"]) for index, e in enumerate(entries)]
    if len({reduction for _, _, reduction in rows}) == 1 and len(rows) > GROUPS:
        ends = [len(rows) * (group + 1) // GROUPS - 1 for group in range(GROUPS)]
        rows = [rows[end] for end in ends]
    return rows


def _prefixed(row: Row, state_dict: StateDict) -> dict[str, Tensor]:
    """timm's names are kept, within the one module that holds timm's network."""
    return {f"net.{name}": tensor for name, tensor in state_dict.items()}
