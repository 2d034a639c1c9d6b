"""What a family file declares: its options, its table of variants and how to build a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vertebra.core import VertebraError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from vertebra.nn import Backbone

StateDict = Mapping[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of every table of variants says; a family adds its own columns.

    ``paper`` is an arXiv number or a citation. ``input_size`` is (channels, height, width).
    """

    year: int
    paper: str
    input_size: tuple[int, int, int] = (3, 224, 224)
    num_classes: int = 1000


@dataclass(frozen=True)
class Option:
    """One switch of a family: its default, whose type a value must have, and what it does."""

    default: bool | int | float | str
    doc: str

    def check(self, family: str, name: str, value: Any) -> Any:
        """``value`` if it has the default's type.

        Raises:
            VertebraError: it has another.
        """
        if type(value) is not type(self.default):
            raise VertebraError(
                f"option '{name}' of {family} takes {type(self.default).__name__}, got {value!r}"
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


@dataclass(frozen=True)
class Family:
    """One family of architectures.

    ``build(name, row, request)`` gives the initialised network. ``renames`` maps a source of
    foreign weights ("torchvision") to one pure function, foreign state dict in, ours out.
    """

    name: str
    variants: Mapping[str, Any]
    build: Callable[[str, Any, Request], Backbone]
    options: Mapping[str, Option] = field(default_factory=dict)
    renames: Mapping[str, Callable[[StateDict], dict[str, Tensor]]] = field(default_factory=dict)

    def resolve_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every option with its value: the given one, checked, or the default.

        Raises:
            VertebraError: an option that the family does not have, or a value of another type.
        """
        for name in given:
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, self.options)
        return {
            name: option.check(self.name, name, given[name]) if name in given else option.default
            for name, option in self.options.items()
        }
