"""The page that shows a dataset: what it is, what is wrong with it, what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vertebra.core import rng
from vertebra.data.inspection.inspect import Inspection
from vertebra.data.inspection.sheets import COLUMNS, ROWS, contact_sheet, side_by_side
from vertebra.data.inspection.words import headline, size_rows
from vertebra.report import Cell, Frame, Page, Row, count, line_plot, percent, plural

MOST_SHEETS = 50
MOST_PAIRS = 24
MOST_BROKEN = 100
MOST_SUSPECTS = 48
_BINS = 30
_LEAST_ASPECTS = 0.1  # between the widest and the narrowest, in powers of two: less is no spread


def page(seen: Inspection, seed: int = 0) -> Page:
    """An inspection on one page; ``seed`` decides which images stand for their class."""
    source = seen.dataset.source.name
    made = Page(
        title=f"The data of {source.rstrip('/').rpartition('/')[2]}",
        lead=f"{source}, fingerprint {seen.card.fingerprint[:8]}, read with "
        f"{plural(seen.dataset.channels, 'channel')}.",
    )
    made.facts(headline(seen))
    _findings(made, seen)
    _duplicates(made, seen)
    _suspects(made, seen)
    _broken(made, seen)
    _sizes(made, seen)
    _classes(made, seen)
    _sheets(made, seen, seed)
    return made


def write_page(seen: Inspection, path: Path, seed: int = 0) -> None:
    """Write the page, atomically."""
    page(seen, seed).write(path)


def _findings(made: Page, seen: Inspection) -> None:
    made.section("Findings")
    if seen.findings:
        rows = [(f"{one.code} {one.level}", one.what, one.cure) for one in seen.findings]
        made.table(("", "what was found", "what to do"), rows, text=3)
    else:
        made.text("Nothing to act on.")
    for note in seen.card.notes:
        made.text(f"{note[:1].upper()}{note[1:]}.")


def _duplicates(made: Page, seen: Inspection) -> None:
    groups = seen.duplicates
    if not len(groups):
        return
    shown = seen.listed_groups(MOST_PAIRS)
    more = f"; {len(shown)} of them are shown" if len(shown) < len(groups) else ""
    made.section(
        "Duplicates",
        f"{plural(len(groups), 'picture')} in {count(len(groups.members))} files{more}. Those "
        "across splits come first, then those of two labels.",
    )
    pictures = []
    for group in shown:
        members = groups[group].tolist()
        first, other = members[0], _most_telling(seen, members)
        same = "equal files" if groups.exact[group] else f"agree to {groups.agreements[group]:.3f}"
        copies = f", {len(members)} copies" if len(members) > 2 else ""
        pictures.append(
            side_by_side(
                seen.dataset,
                [int(seen.scan.indices[at]) for at in (first, other)],
                f"{_said(seen, first)} = {_said(seen, other)}",
                same + copies,
            )
        )
    made.gallery(pictures)


def _most_telling(seen: Inspection, members: list[int]) -> int:
    """The member that is least expected beside the first: of another split, or of another label."""
    first = members[0]
    return max(
        members[1:],
        key=lambda at: (
            seen.splits[at] != seen.splits[first],
            seen.labels[at] != seen.labels[first],
            -at,
        ),
    )


def _said(seen: Inspection, at: int) -> str:
    return f"{seen.id(at)} ({seen.split(at)}, {seen.label(at)})"


def _suspects(made: Page, seen: Inspection) -> None:
    found = seen.suspects
    if found is None:
        return
    made.section(
        "Labels in doubt",
        f"{plural(found.found, 'label')} of {count(found.images)} images that the network of "
        f"{found.run} was not trained on, worst first, by confident learning (Northcutt et al., "
        "2021).",
    )
    if not found.rows:
        made.text("It agrees with every label, or is not sure of another one.")
    place = {seen.dataset.source.ids[int(index)]: int(index) for index in _held_out(seen)}
    made.gallery(
        [
            side_by_side(
                seen.dataset,
                [place[row.id]],
                f"labelled {row.label} ({percent(row.label_probability, 1)}), "
                f"looks like {row.suggested} ({percent(row.suggested_probability, 1)})",
                f"{row.id} ({row.split})",
            )
            for row in found.rows[:MOST_SUSPECTS]
            if row.id in place
        ]
    )


def _held_out(seen: Inspection) -> NDArray[np.int64]:
    """The places in the source of the suspects that are shown."""
    assert seen.suspects is not None
    wanted = {row.id for row in seen.suspects.rows[:MOST_SUSPECTS]}
    ids = seen.dataset.source.ids
    return np.array([at for at, name in enumerate(ids) if name in wanted], dtype=np.int64)


def _broken(made: Page, seen: Inspection) -> None:
    if not seen.broken:
        return
    shown = seen.broken[:MOST_BROKEN]
    more = f" The first {len(shown)} are listed." if len(shown) < len(seen.broken) else ""
    made.section("Broken files", f"{plural(len(seen.broken), 'file')} cannot be decoded.{more}")
    made.table(("file", "why"), [(entry.id, entry.reason) for entry in shown], text=2)


def _sizes(made: Page, seen: Inspection) -> None:
    facts = seen.facts
    made.section("Sizes and formats", "Sides in pixels, after turning upright by EXIF.")
    formats = [(name, count(number)) for name, number in facts.formats.items()]
    made.table(("format and mode", "images"), formats)
    if facts.sizes is None:
        return
    made.table(("", "least", "median", "largest"), size_rows(facts.sizes))
    if facts.sizes.alike:
        return
    good = seen.scan.seen
    widths, heights = seen.scan.widths[good], seen.scan.heights[good]
    top = float(max(np.quantile(widths, 0.99), np.quantile(heights, 0.99)))
    sides = {"width": _steps(widths, top), "height": _steps(heights, top)}
    plots = [line_plot(sides, "pixels (the largest 1 % in the last bin)", "images")]
    # Logarithms: 2:1 is as far from a square as 1:2.
    aspect = np.log2(widths / heights)
    if np.ptp(aspect) > _LEAST_ASPECTS:
        turned = {"images": _steps(aspect, float(aspect.max()))}
        plots.append(line_plot(turned, "log2 of width over height", "images"))
    made.plots(plots)


def _steps(values: NDArray[np.generic], top: float) -> tuple[list[float], list[float]]:
    """The outline of a histogram; what lies above ``top`` counts in the last bin."""
    clipped = np.minimum(values.astype(np.float64), top)
    low = float(clipped.min())
    counts, edges = np.histogram(clipped, bins=_BINS, range=(low, max(top, low + 1e-3)))
    x = np.repeat(edges, 2)
    y = np.concatenate([[0], np.repeat(counts, 2), [0]])
    return x.tolist(), y.astype(np.float64).tolist()


def _classes(made: Page, seen: Inspection) -> None:
    counts, balance = seen.card.counts, seen.facts.balance
    made.section(
        "Classes",
        f"{balance.ratio:.1f} times as many training images in the largest class as in the "
        f"smallest; together they weigh as much as {balance.effective:.1f} equal classes.",
    )
    total = max(sum(counts["train"].values()), 1)
    rows = []
    for name in sorted(seen.dataset.classes, key=lambda name: -counts["train"][name]):
        first = Cell(count(counts["train"][name]), counts["train"][name] / total)
        others = [Cell(count(counts[split.name][name])) for split in seen.dataset.splits[1:]]
        rows.append(Row(name, "", [first, *others]))
    made.tree("class", [split.name for split in seen.dataset.splits], rows)


def _sheets(made: Page, seen: Inspection, seed: int) -> None:
    classes = seen.dataset.classes
    shown = classes[:MOST_SHEETS]
    more = (
        f" The first {len(shown)} of {len(classes)} classes." if len(shown) < len(classes) else ""
    )
    made.section("What they look like", f"Images of each class, drawn at random.{more}")
    order, bounds = _by_class(seen)
    frames = []
    for number, name in enumerate(shown):
        own = order[bounds[number] : bounds[number + 1]]
        if len(own):
            frames.append(_sheet(seen, own, name, seed))
    made.frames(frames, large=True)


def _by_class(seen: Inspection) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the scan that could be decoded, by class; and where each class begins."""
    good = np.flatnonzero(seen.scan.seen)
    order = good[np.argsort(seen.labels[good], kind="stable")]
    classes = np.arange(len(seen.dataset.classes) + 1)
    return order, np.searchsorted(seen.labels[order], classes)


def _sheet(seen: Inspection, own: NDArray[np.int64], name: str, seed: int) -> Frame:
    drawn = rng(seed, "contact sheet", name).permutation(len(own))[: COLUMNS * ROWS]
    indices: Sequence[int] = seen.scan.indices[own[np.sort(drawn)]].tolist()
    return contact_sheet(seen.dataset, indices, name, f"{len(indices)} of {count(len(own))}")
