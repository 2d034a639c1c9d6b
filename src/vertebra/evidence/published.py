"""Published results: plain rows, each with the place where it was published. Loads no PyTorch."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One result on ImageNet-1k's validation images, as its source states it.

    Attributes:
        weights: what was loaded, as ``create(weights=...)`` takes it where that can fetch it
            ("IMAGENET1K_V1", "timm:a1_in1k"); else "paper" or "release" for figures without weights
            that could be loaded here.
        top1, top5: shares of images in [0, 1]; None where the source gives none.
        params: number of parameters in the source's own counting, to its own digits; None if it
            gives none.
        gmacs: 1e9 multiply-accumulates of one image at ``crop``; None if it gives none.
        crop: side of the square that was evaluated, in pixels.
        source: where the figures stand, and under which conditions where they are special.
    """

    weights: str
    top1: float | None
    top5: float | None
    params: int | None
    gmacs: float | None
    crop: int
    source: str


def published_elsewhere() -> Iterator[tuple[str, Published]]:
    """(model, row) of each line of ``published.csv``: what no installed library knows by itself."""
    text = files("vertebra.evidence").joinpath("published.csv").read_text()
    for line in csv.DictReader(text.splitlines()):
        yield (
            line["model"],
            Published(
                weights=line["weights"],
                top1=_percent(line["top1_percent"]),
                top5=_percent(line["top5_percent"]),
                params=round(float(line["params_m"]) * 1e6) if line["params_m"] else None,
                gmacs=float(line["gmacs"]) if line["gmacs"] else None,
                crop=int(line["crop"]),
                source=line["source"],
            ),
        )


def _percent(text: str) -> float | None:
    """A share; rounded, because 80.858 / 100 is not the nearest number to 0.80858."""
    return round(float(text) / 100, 6) if text else None
