"""Where images come from: one kind of source a file, all with the same face."""

from __future__ import annotations

from pathlib import Path

from vertebra.data.sources.folder import image_files, open_folder
from vertebra.data.sources.source import SPLITS, Source

__all__ = ["SPLITS", "Source", "image_files", "open_source"]

MANIFESTS = (".csv", ".tsv", ".parquet")


def open_source(text: str | Path, *, training: bool = True) -> Source:
    """Open labelled images; what ``text`` says decides of what kind.

    "digits"; "hf:..." (Hugging Face datasets, :mod:`.huggingface`); "wds:..." (WebDataset shards,
    :mod:`.shards`); a file ending in .csv, .tsv or .parquet (:mod:`.manifest`); else a folder
    (:mod:`.folder`). Nothing is decoded.

    With ``training`` off a class may be empty or the only one: enough to evaluate on.

    Raises:
        VertebraError: nothing usable is there; the message says what was expected.
    """
    # Imported as they are needed: each kind brings its libraries.
    word, path = str(text), Path(text)
    if word == "digits":
        from vertebra.data.sources.digits import open_digits

        return open_digits()
    if word.startswith("hf:"):
        from vertebra.data.sources.huggingface import open_huggingface

        return open_huggingface(word, training=training)
    if word.startswith("wds:"):
        from vertebra.data.sources.shards import open_shards

        return open_shards(word, training=training)
    if path.suffix.lower() in MANIFESTS and not path.is_dir():
        from vertebra.data.sources.manifest import open_manifest

        return open_manifest(path, training=training)
    return open_folder(path, training=training)
