"""The one error type that a user meets, and the words that help them on."""

import difflib
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

STOPPED = 130  # exit code: what shells report for a process that Ctrl-C ended


class VertebraError(Exception):
    """Something the user can put right: one sentence on what was wrong and what was expected.

    The command line prints it without a traceback and exits with ``exit_code``: 1 when a check
    failed, 2 for bad usage or input, 130 when the user stopped it.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Notice(UserWarning):
    """Something that was done and that the user should know of: one sentence."""


# Where code lies that a user did not write: this package, what is installed, Python itself.
_FOREIGN = (
    Path(__file__).parents[1],
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)


def place_of(error: BaseException) -> str:
    """ "nets.py:12": the innermost line of the user's own code in a traceback; "" if there is none.

    Own code is what lies neither in this package nor among installed ones.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(path.is_relative_to(folder) for folder in _FOREIGN):
            return f"{path.name}:{frame.lineno}"
    return ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The entry of ``known`` that ``word`` was probably meant to be, or None."""
    folded = {name.lower(): name for name in known}
    typed = word.lower()
    matches = difflib.get_close_matches(typed, folded, n=8, cutoff=0.6)

    def distance(name: str) -> tuple[float, int, str]:
        # Equally similar names are told apart by how far they begin alike: resnet2O is resnet20
        # and not resnet32.
        similarity = difflib.SequenceMatcher(None, typed, name).ratio()
        return -similarity, -_common_start(typed, name), name

    return folded[min(matches, key=distance)] if matches else None


def _common_start(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def unknown(kind: str, word: str, known: Iterable[str]) -> VertebraError:
    """The error for a name that is not among ``known``: suggests the nearest, never corrects."""
    names = sorted(known)
    guess = nearest(word, names)
    if guess is not None:
        return VertebraError(f"unknown {kind} '{word}'; did you mean {guess}?")
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return VertebraError(f"unknown {kind} '{word}'; known: {shown}")
