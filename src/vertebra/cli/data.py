"""``vertebra data``."""

from __future__ import annotations

import contextlib
import json as json_module
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vertebra.cli import output

if TYPE_CHECKING:
    from vertebra.data import ImageDataset
    from vertebra.data.inspection import Inspection, Suspects

DEFAULT_PARENT = "cards"
_CLASSES = 50  # rows of a table that is still read
_SUSPECTS = 10


def command(
    source: Annotated[
        str, typer.Argument(help='"digits", a folder, a manifest, "hf:NAME" or "wds:PATTERN".')
    ],
    seed: Annotated[
        int, typer.Option(help="Of the splits, and of what is drawn; with --run its own splits.")
    ] = 0,
    channels: Annotated[int | None, typer.Option(help="Read as grey (1) or RGB (3).")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many images only, drawn by the seed.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Labels that look wrong to this run, or to its folds.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the card goes; cards/NAME.json if not told.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with pictures of every class, too.")
    ] = None,
    quiet: output.Quiet = False,
    json: output.Json = False,
) -> int:
    """Look at every image once: sizes, balance, broken files, duplicates, leaks between splits.

    Exit code 1 where a fault was found: copies across splits, equal files of two labels, files
    that cannot be decoded, shards cut short.
    """
    for path, option in ((out, "--out"), (html, "--html")):
        _check_file(path, option)
    if channels not in (None, 1, 3):
        from vertebra.core import VertebraError

        raise VertebraError(f"--channels takes 1 (grey) or 3 (RGB), got {channels}")
    if not quiet:
        output.notice("loading PyTorch ...")
    dataset, suspects, size = _open(source, seed, channels, run)
    found = _look(dataset, sample, seed, size, suspects, quiet)
    written = _write(found, seed, out, html, default=not json)
    if json:
        output.document(found.to_dict())
    else:
        _print(found)
        for path in written:
            output.line(str(path))
    return 1 if found.failed else 0


def _open(
    source: str, seed: int, channels: int | None, run: Path | None
) -> tuple[ImageDataset, Suspects | None, int | None]:
    """The data as the run divided it, its labels in doubt, and the size that its network takes."""
    from vertebra.data import open_dataset

    if run is None:
        return open_dataset(source, seed, channels=channels, cache="none"), None, None
    from vertebra.train.labels import recipe_of, suspicious_labels

    own = recipe_of(run).data
    dataset = open_dataset(
        source,
        own.split_seed,
        channels=channels or own.channels,
        cache="none",
        folds=own.folds,
        fold=own.fold,
    )
    return dataset, suspicious_labels(run, dataset.source.name), own.image_size


def _look(
    dataset: ImageDataset,
    sample: int | None,
    seed: int,
    size: int | None,
    suspects: Suspects | None,
    quiet: bool,
) -> Inspection:
    from vertebra.data.inspection import inspect

    total = sum(len(split) for split in dataset.splits)
    if not quiet:
        some = min(sample or total, total)
        output.notice(f"looking at {some} of {total} images ...")
    with _progress(quiet) as progress:
        found = inspect(
            dataset, sample=sample, seed=seed, input_size=size, suspects=suspects, progress=progress
        )
    if not quiet:
        for note in found.card.notes:
            output.notice(note)
    return found


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = output.console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _check_file(path: Path | None, option: str) -> None:
    """Refuse a file that could not be written, before the work is done."""
    from vertebra.core import VertebraError

    if path is None:
        return
    if path.is_dir():
        raise VertebraError(f"{option} takes a file, and {path} is a folder")
    if not path.absolute().parent.is_dir():
        raise VertebraError(f"there is no folder {path.parent} to write {path.name} into")


def _write(
    found: Inspection, seed: int, out: Path | None, html: Path | None, default: bool
) -> list[Path]:
    """Write the card and the page; the paths that were written."""
    from vertebra.core import VertebraError, write_json
    from vertebra.data.inspection.page import write_page

    written = []
    try:
        if out is None and default:
            out = _default_file(found.card.source)
        if out is not None:
            write_json(out, found.to_dict())
            written.append(out)
        if html is not None:
            write_page(found, html, seed)
            written.append(html)
    except OSError as error:
        where = error.filename or out or html
        raise VertebraError(f"cannot write {where}: {error.strerror or error}") from None
    return written


def _default_file(source: str) -> Path:
    """``cards/NAME.json``; ``NAME-2`` and so on where that is the card of other data."""
    last = Path(source.partition("?")[0].replace(":", "/").rstrip("/"))
    stem = re.sub(r"\.(csv|tsv|parquet|tar)$", "", last.name)
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "data"
    Path(DEFAULT_PARENT).mkdir(exist_ok=True)
    number = 1
    while True:
        path = Path(DEFAULT_PARENT) / (f"{name}.json" if number == 1 else f"{name}-{number}.json")
        if not path.exists() or _card_of(path) == source:
            return path
        number += 1


def _card_of(path: Path) -> str | None:
    """The source that a card is of; None of another file."""
    try:
        content = json_module.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content.get("source") if isinstance(content, dict) else None


def _print(found: Inspection) -> None:
    from vertebra.data.inspection.words import headline, size_rows, small_words

    counts = found.card.counts
    if len(found.dataset.classes) <= _CLASSES:
        rows = [
            (name, *(str(counts[split][name]) for split in counts))
            for name in found.dataset.classes
        ]
        output.table(("class", *counts), rows)
        output.line()
    facts = found.facts
    if facts.sizes is not None:
        output.table(("", "least", "median", "largest"), size_rows(facts.sizes))
        output.line(small_words(facts.sizes))
        output.line(", ".join(f"{name}: {number}" for name, number in facts.formats.items()))
        output.line()
    output.line(found.card.source)
    for what, value in headline(found):
        output.line(f"  {what:<26}{value}")
    _print_suspects(found)
    output.line()
    if not found.findings:
        output.line("nothing to act on")
    for finding in found.findings:
        output.line(f"{finding.code} {finding.level}: {finding.what}")
        output.line(f"  {finding.cure}")


def _print_suspects(found: Inspection) -> None:
    from vertebra.report.words import percent

    if found.suspects is None or not found.suspects.rows:
        return
    output.line()
    rows = [
        (row.id, row.split, row.label, row.suggested, percent(row.suggested_probability, 1))
        for row in found.suspects.rows[:_SUSPECTS]
    ]
    output.table(("label in doubt", "split", "labelled", "looks like", "sure"), rows, text=4)
