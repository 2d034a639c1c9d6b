"""Decoded images kept in memory: the same pixels, within the limit, in one process only."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from vertebra.core import Preprocessing
from vertebra.data import open_dataset, training_batches
from vertebra.data.kept import KeptImages, limit_of
from vertebra.machine import describe
from vertebra.runs.recipe import AugmentSection

SMALL = Preprocessing(size=16, resize=18, mean=(0.5,) * 3, std=(0.25,) * 3)
CUT = AugmentSection(crop="pad", padding=4, flip=True)


class Decoder:
    """Counts how often it is asked; an image of 12 bytes."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return torch.full((3, 2, 2), self.calls % 256, dtype=torch.uint8)


def test_an_image_within_the_limit_is_decoded_once() -> None:
    kept, decoder = KeptImages(24), Decoder()
    first = kept.get((0, 3), decoder)
    assert torch.equal(kept.get((0, 3), decoder), first)
    assert decoder.calls == 1
    kept.get((0, 1), decoder)
    assert decoder.calls == 2, "other channels are another image"
    assert kept.size == 24


def test_beyond_the_limit_everything_is_decoded_anew() -> None:
    kept, decoder = KeptImages(23), Decoder()
    kept.get((0, 3), decoder)
    for _ in range(3):
        kept.get((1, 3), decoder)
    assert decoder.calls == 4
    assert kept.size == 12
    kept.get((0, 3), decoder)
    assert decoder.calls == 4, "what was kept stays"


def test_the_limit_holds_with_several_threads() -> None:
    kept, decoder = KeptImages(12 * 40), Decoder()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: kept.get((index % 100, 3), decoder), range(1000)))
    assert kept.size == 12 * 40
    assert len(kept._images) == 40


def test_the_default_is_a_gibibyte_or_an_eighth_of_the_memory() -> None:
    assert limit_of(None) == min(2**30, describe().memory // 8)
    assert limit_of(0.5) == 2**29


def test_a_copy_for_another_process_stays_empty() -> None:
    kept = KeptImages(100)
    kept.get((0, 3), Decoder())
    copy = pickle.loads(pickle.dumps(kept))
    copy.get((1, 3), Decoder())
    assert copy.size == 0


def test_a_forked_process_uses_what_is_there_and_keeps_no_more() -> None:
    kept, decoder = KeptImages(100), Decoder()
    kept.get((0, 3), decoder)
    child = os.fork()
    if child == 0:  # asserts would not be heard here
        kept.get((0, 3), decoder)
        kept.get((1, 3), decoder)
        os._exit(0 if (decoder.calls, kept.size) == (2, 12) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_keeping_images_changes_no_number(make_folder: Callable[..., Path]) -> None:
    root: Path = make_folder(each=20)
    batches = []
    for keep_gib in (0, 1.0, 5000 / 2**30):
        view = training_batches(open_dataset(root, keep_gib=keep_gib).train, SMALL, CUT, 7, 0)
        batches.append([batch for epoch in range(3) for batch in view(epoch)])
    for others in batches[1:]:
        for (images, labels), (same, same_labels) in zip(batches[0], others, strict=True):
            assert torch.equal(images, same)
            assert torch.equal(labels, same_labels)


def test_a_check_keeps_what_it_decoded(make_folder: Callable[..., Path]) -> None:
    root: Path = make_folder(each=20)
    split = open_dataset(root).train
    for file in root.rglob("*.jpg"):
        file.write_bytes(b"")
    assert split.read(0).shape == (3, 20, 24)
