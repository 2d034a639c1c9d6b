"""What a person should act on in a dataset: one function a rule.

None of the rules speaks of digits or of a clean folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vertebra.data.inspection.duplicates import first_equal
from vertebra.data.inspection.facts import FEW
from vertebra.report.words import percent, plural
from vertebra.runs import Finding

if TYPE_CHECKING:
    from vertebra.data.inspection.inspect import Inspection

_ORDER = {"fault": 0, "warning": 1, "note": 2}
# Largest class over smallest. Ten is the mildest long tail that is studied as one (Cui et al.,
# 2019, arXiv:1901.05555); shares of that size arise by chance in small data below it.
IMBALANCE = 10
SMALL_SHARE = 0.1  # of images below the network's input
GREY_SHARE = 0.01
_GREY_GAP = 0.5  # between a class's share of grey images and that of all others
_NAMED = 5


def find(seen: Inspection) -> tuple[Finding, ...]:
    """Everything there is to say, worst first, then by code."""
    found = [finding for rule in _RULES for finding in rule(seen)]
    return tuple(sorted(found, key=lambda entry: (_ORDER[entry.level], entry.code)))


def _leakage(seen: Inspection) -> Iterator[Finding]:
    groups = seen.duplicates
    held = seen.dataset.splits[1:]
    splits = seen.splits[groups.members]
    has_train = np.zeros(len(groups), dtype=np.bool_)
    np.logical_or.at(has_train, groups.groups, splits == 0)
    equal = _equal(seen)
    in_train = np.isin(equal, equal[splits == 0])
    parts: list[str] = []
    numbers: dict[str, float] = {}
    for code, split in enumerate(held, start=1):
        leaked = (splits == code) & has_train[groups.groups]
        count, exact = int(leaked.sum()), int((leaked & in_train).sum())
        if count:
            parts.append(f"{plural(count, split.name + ' image')} ({exact} to the byte)")
            numbers |= {split.name: count, f"{split.name}_exact": exact}
    if parts:
        what = f"also among the images to train on: {', '.join(parts)}"
    elif seen.across_splits.any():
        count = int(seen.across_splits.sum())
        what, numbers = f"in val and in test: {plural(count, 'picture')}", {"groups": count}
    else:
        return
    given = seen.dataset.source.given is not None
    cure = "remove them from one side" if given else "remove the copies"
    cure += ", or give a manifest whose column group holds copies together: "
    cure += "accuracy on them is memory and not skill"
    yield Finding("D001", "fault", what, cure, numbers)


def _two_labels(seen: Inspection) -> Iterator[Finding]:
    torn = seen.torn_labels
    if not torn.any():
        return
    groups, equal = seen.duplicates, _equal(seen)
    # Equal files of a picture may agree on the label where a near copy of them does not.
    differ = np.flatnonzero(seen.labels[groups.members] != seen.labels[equal])
    exact, pictures = len(np.unique(groups.groups[differ])), int(torn.sum())
    if exact:
        first, other = int(equal[differ[0]]), int(groups.members[differ[0]])
    else:
        first, *rest = groups[int(np.flatnonzero(torn)[0])].tolist()
        other = next(at for at in rest if seen.labels[at] != seen.labels[first])
    yield Finding(
        "D002",
        "fault" if exact else "warning",
        f"{plural(pictures, 'picture')} {'has' if pictures == 1 else 'have'} more than one label "
        f"({exact} of them in equal files), as {seen.id(first)} and {seen.id(other)}",
        "decide which label is right and remove the other copy; keep both only if an image may "
        "belong to two classes, which a classifier of one label cannot learn",
        {"pictures": pictures, "exact": exact},
    )


def _equal(seen: Inspection) -> NDArray[np.int64]:
    """The first image (M,) whose file is to the byte that of each member of a duplicate group."""
    members = seen.duplicates.members
    return members[first_equal(seen.scan.digests[members])]


def _small_classes(seen: Inspection) -> Iterator[Finding]:
    few = seen.facts.balance.few
    if few:
        least = sorted(few.items(), key=lambda pair: (pair[1], pair[0]))
        yield Finding(
            "D003",
            "warning",
            f"fewer than {FEW} images to train on in {len(few)} of {len(seen.dataset.classes)} "
            f"classes: {_named([f'{name} ({count})' for name, count in least])}",
            "collect more images, or join or leave out these classes; their accuracy can hardly be "
            "measured either",
            {"classes": len(few), "smallest": least[0][1]},
        )


def _broken(seen: Inspection) -> Iterator[Finding]:
    count = int((~seen.scan.seen).sum())
    if not count:
        return
    words = seen.scan.reason_words.words
    reasons = np.bincount(seen.scan.reasons[~seen.scan.seen], minlength=len(words))
    order = sorted(range(len(words)), key=lambda number: (-reasons[number], words[number]))
    said = [f"{words[number]} ({reasons[number]})" for number in order]
    first = seen.id(int(np.flatnonzero(~seen.scan.seen)[0]))
    yield Finding(
        "D004",
        "fault",
        f"{plural(count, 'file')} cannot be decoded: {_named(said)}; the first is {first}",
        "fetch them again or remove them: in training another image stands in their place",
        {"files": count, "share": count / len(seen.scan.seen)},
    )


def _imbalance(seen: Inspection) -> Iterator[Finding]:
    balance, classes = seen.facts.balance, len(seen.dataset.classes)
    if balance.ratio >= IMBALANCE:
        (most, high), (least, low) = balance.largest, balance.smallest
        yield Finding(
            "D005",
            "warning",
            f"'{most}' has {plural(high, 'image')} to train on and '{least}' {low}: "
            f"{balance.ratio:.0f} times as many; {classes} classes weigh as much as "
            f"{balance.effective:.1f} equal ones",
            "train with --set balanced=true or --set class_weights=balanced, and judge by each "
            "class, not by top-1 alone",
            {"ratio": balance.ratio, "effective": balance.effective},
        )


def _small_images(seen: Inspection) -> Iterator[Finding]:
    size = seen.input_size
    if size is None or not seen.scan.seen.any():
        return
    short = np.minimum(seen.scan.widths, seen.scan.heights)[seen.scan.seen]
    share = float((short < size).mean())
    if share >= SMALL_SHARE:
        # What nine in ten have at least, in the steps that strides divide.
        fits = max(int(np.quantile(short, SMALL_SHARE)) // 32 * 32, 32)
        yield Finding(
            "D006",
            "warning",
            f"{percent(share, 0)} of the images have a side below the {size} pixels that a network "
            f"takes them at; their median is {np.median(short):.0f}",
            f"train with --set image_size={fits}, which costs less, or expect blurred enlargements",
            {"share": share, "input": size, "median": float(np.median(short))},
        )


def _grey(seen: Inspection) -> Iterator[Finding]:
    images = int(seen.scan.seen.sum())
    grey = int(seen.scan.grey.sum())
    if seen.scan.channels != 3 or not images or grey < GREY_SHARE * images:
        return
    numbers = {"grey": grey, "share": grey / images}
    if grey == images:
        what = f"all {images} images are grey and are read in colour"
        yield Finding("D007", "note", what, "open them with --channels 1: less to compute", numbers)
        return
    what = f"{percent(grey / images, 1)} of the images are grey among colour ({grey})"
    uneven = _uneven(seen)
    if uneven:
        yield Finding(
            "D007",
            "warning",
            f"{what}, and unevenly: {_named(uneven)}",
            "make the classes alike in this, or read all with --channels 1: else colour alone "
            "tells them apart",
            numbers,
        )
    else:
        cure = "nothing, if they will be met in use too; else leave them out"
        yield Finding("D007", "note", what, cure, numbers)


def _uneven(seen: Inspection) -> list[str]:
    """Classes of 10 images and more whose share of grey ones is far from that of all others."""
    labels, many = seen.labels[seen.scan.seen], len(seen.dataset.classes)
    grey = np.bincount(labels, seen.scan.grey[seen.scan.seen], minlength=many)
    counts = np.bincount(labels, minlength=many)
    rest = (grey.sum() - grey) / np.maximum(counts.sum() - counts, 1)
    share = grey / np.maximum(counts, 1)
    far = np.flatnonzero((abs(share - rest) >= _GREY_GAP) & (counts >= FEW))
    return [f"{seen.dataset.classes[at]} {percent(float(share[at]), 0)}" for at in far.tolist()]


def _labels(seen: Inspection) -> Iterator[Finding]:
    suspects = seen.suspects
    if suspects and suspects.found:
        share = suspects.found / suspects.images
        yield Finding(
            "D008",
            "warning",
            f"{plural(suspects.found, 'label')} of {suspects.images} held-out images "
            f"{'looks' if suspects.found == 1 else 'look'} wrong to {suspects.run} "
            f"({percent(share, 1)})",
            "look at them, worst first, and correct what is wrong; the others are merely hard",
            {"found": suspects.found, "images": suspects.images},
        )


def _cut_shards(seen: Inspection) -> Iterator[Finding]:
    cut = [note for note in seen.dataset.notes if "ends in the middle of a sample" in note]
    if cut:
        yield Finding(
            "D009",
            "fault",
            f"{plural(len(cut), 'shard')} cut short: {_named(cut)}",
            "fetch or write it again: samples are missing",
            {"shards": len(cut)},
        )


def _copies(seen: Inspection) -> Iterator[Finding]:
    groups = seen.duplicates
    training = (seen.splits == 0)[groups.members]
    inside = np.bincount(groups.groups[training], minlength=len(groups))
    extra = int(np.maximum(inside - 1, 0).sum())
    if extra:
        share = extra / max(int((seen.splits == 0).sum()), 1)
        yield Finding(
            "D010",
            "note",
            f"{plural(extra, 'training image')} {'is a copy' if extra == 1 else 'are copies'} of "
            f"another ({percent(share, 1)})",
            "remove them, unless they should weigh more",
            {"copies": extra, "share": share},
        )


def _named(entries: list[str]) -> str:
    more = len(entries) - _NAMED
    return ", ".join(entries[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_RULES = (
    _leakage,
    _two_labels,
    _small_classes,
    _broken,
    _imbalance,
    _small_images,
    _grey,
    _labels,
    _cut_shards,
    _copies,
)
