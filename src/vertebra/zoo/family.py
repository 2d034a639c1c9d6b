"""What a family file declares: its options, its table of variants and how to build a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone, InitRule

StateDict = Mapping[str, "Tensor"]

# What every network takes: a mistyped one arrives among a family's options.
COMMON = ("num_classes", "in_chans", "weights", "dropout", "drop_path", "input_size", "seed")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of every table of variants says; a family adds its own columns.

    ``paper`` is an arXiv number or a citation. ``input_size`` is (channels, height, width).
    ``dropout`` and ``drop_path`` are the rates that it was published with, the defaults of
    ``create``. ``to_unit_range``: the published weights expect images in [-1, 1] (mean and
    deviation 0.5) and not normalised by ImageNet's statistics. ``smallest`` is the least height and
    width of an image that leaves a pixel in the map of every stage. ``timm`` is timm's name for the
    same network where it is another than ours.
    """

    year: int
    paper: str
    input_size: tuple[int, int, int] = (3, 224, 224)
    num_classes: int = 1000
    dropout: float = 0.0
    drop_path: float = 0.0
    to_unit_range: bool = False
    smallest: int = 1
    timm: str = ""


@dataclass(frozen=True)
class Option:
    """One switch of a family: its default, whose type a value must have, and what it does.

    ``choices`` are the values that it takes; empty for any of the type.
    """

    default: bool | int | float | str
    doc: str
    choices: tuple[str, ...] = ()

    def check(self, family: str, name: str, value: Any) -> Any:
        """``value`` if it has the default's type and is one of the choices.

        A whole number is taken where a fraction is expected.

        Raises:
            VertebraError: it has another type, or is none of the choices.
        """
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            raise VertebraError(
                f"option '{name}' of {family} takes {type(self.default).__name__}, got {value!r}"
            )
        if self.choices and value not in self.choices:
            raise VertebraError(
                f"option '{name}' of {family} takes {' or '.join(self.choices)}, got {value!r}"
            )
        return value


@dataclass(frozen=True)
class Request:
    """What :func:`vertebra.zoo.create` was asked for, with every default filled in."""

    num_classes: int
    in_chans: int
    dropout: float
    drop_path: float
    input_size: tuple[int, int, int]
    options: Mapping[str, Any]
    seed: int

    def refuse_drop_path(self, name: str) -> None:
        """For networks without residual branches.

        Raises:
            VertebraError: drop-path was asked for.
        """
        if self.drop_path:
            raise VertebraError(f"{name} has no residual branches, so drop_path must be 0")


@dataclass(frozen=True)
class Source:
    """A library whose weights fit: how names change, and what else belongs to its weights.

    ``rename(row, state_dict)`` is pure: a foreign state dict in, ours out. ``norm(row)`` gives eps
    and momentum of the batch norms that its weights were trained with, where libraries differ.
    """

    rename: Callable[[Any, StateDict], dict[str, Tensor]]
    norm: Callable[[Any], tuple[float, float]] | None = None


@dataclass(frozen=True)
class Family:
    """One family of architectures.

    ``build(name, row, request)`` gives the network and ``init(row, request)`` the rule of its
    initial weights; where it is None, ``build`` has drawn them. ``sources`` maps the name of a
    library ("torchvision") to how its weights become ours. ``specialise(row, options)`` gives the
    row that the options describe, where an option changes more than a row's builder can see.
    ``resize(net, state_dict)`` changes weights in our names, in place, where they depend on the
    image size, and gives one sentence on each change.
    """

    name: str
    variants: Mapping[str, Any]
    build: Callable[[str, Any, Request], Backbone]
    init: Callable[[Any, Request], InitRule] | None
    options: Mapping[str, Option] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    specialise: Callable[[Any, Mapping[str, Any]], Any] = lambda row, options: row
    resize: Callable[[Backbone, dict[str, Tensor]], list[str]] = lambda net, state_dict: []

    def resolve_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every option with its value: the given one, checked, or the default.

        Raises:
            VertebraError: an option that the family does not have, or a value of another type.
        """
        for name in given:
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, [*self.options, *COMMON])
        return {
            name: option.check(self.name, name, given[name]) if name in given else option.default
            for name, option in self.options.items()
        }
