"""Numbers as a person reads them."""

from collections.abc import Sequence


def count(number: int) -> str:
    """25557032 -> "25 557 032", with thin spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def si(number: float) -> str:
    """25557032 -> "25.56 M"; four digits at most."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What would round up to 1000 of a smaller unit is 1 of this one.
        if float(f"{abs(number):.4g}") >= factor:
            return f"{number / factor:.4g} {prefix}"
    return f"{number:.4g}"


def size(number: int) -> str:
    """102228128 -> "97.5 MiB"; units of 1024."""
    for factor, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        # What would round up to 1024 of a smaller unit is 1 of this one.
        if round(abs(number) / (factor >> 10), 1) >= 1024:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def plural(number: int, noun: str) -> str:
    """(1, "error") -> "1 error"; (3, "error") -> "3 errors"."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def percent(share: float | None, digits: int = 2) -> str:
    """0.9917 -> "99.17 %"; None -> a dash."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def shape(size: Sequence[int]) -> str:
    """(1, 64, 56, 56) -> "64 x 56 x 56": the batch, always first, is left out."""
    return extents(size[1:])


def extents(size: Sequence[int]) -> str:
    """(64, 56, 56) -> "64 x 56 x 56"; nothing -> "one number"."""
    return " x ".join(str(extent) for extent in size) or "one number"
