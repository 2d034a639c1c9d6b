"""Batches by address, and the pixels in them against torchvision."""

import itertools

import numpy as np
import pytest
import torch
from numbered import PLAIN, TINY, equal, numbered, numbers
from numbered import whole_batches as training_batches
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from vertebra.core import Preprocessing
from vertebra.data import (
    Batch,
    Sampling,
    Split,
    evaluation_batches,
    normalise,
    open_dataset,
    prepare,
    steps_per_epoch,
)
from vertebra.data.transforms import augmentation
from vertebra.runs.recipe import AugmentSection

GREY = Preprocessing(size=32, resize=32, mean=(0.5,), std=(0.25,))
SMALL = Preprocessing(size=24, resize=28, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
PAD = AugmentSection(crop="pad", padding=4)
RESIZED = AugmentSection(crop="resized", flip=True)


def epoch_of(count: int, batch_size: int, seed: int = 0, epoch: int = 0) -> list[Batch]:
    return list(training_batches(numbered(count), TINY, PLAIN, batch_size, seed)(epoch))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Images of noise in several sizes and both orientations."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = root / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        height, width = rng.integers(26, 50, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return open_dataset(root).train


@pytest.fixture(scope="module")
def digits() -> Split:
    return open_dataset("digits").train


# Who is in a batch


@pytest.mark.parametrize(
    ("samples", "batch_size", "steps", "sizes"),
    [(10, 3, 3, [3, 3, 3]), (9, 3, 3, [3, 3, 3]), (3, 3, 1, [3]), (2, 3, 1, [2]), (1, 64, 1, [1])],
)
def test_full_batches_only_but_one_at_least(
    samples: int, batch_size: int, steps: int, sizes: list[int]
) -> None:
    assert steps_per_epoch(samples, Sampling(batch_size)) == steps
    assert [len(batch.labels) for batch in epoch_of(samples, batch_size)] == sizes


def test_every_sample_at_most_once_an_epoch_and_each_in_some() -> None:
    seen: set[int] = set()
    for epoch in range(12):
        batches = epoch_of(50, 8, epoch=epoch)
        found = list(itertools.chain(*numbers(batches)))
        assert len(found) == len(set(found)) == 48
        seen.update(found)
    assert seen == set(range(50)), "no image is left out for good"


def test_labels_belong_to_their_images() -> None:
    for batch in epoch_of(50, 8):
        images, labels = batch.images, batch.labels
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert torch.equal(images[:, 0, 0, 0].long() % 2, labels)


def test_orders_differ_by_epoch_and_seed_and_are_repeated() -> None:
    orders = {
        (seed, epoch): str(numbers(epoch_of(50, 8, seed, epoch)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9
    assert orders[1, 2] == str(numbers(epoch_of(50, 8, 1, 2)))


def test_an_order_is_a_fair_shuffle() -> None:
    """Every image is in the first batch about as often as any other: 400 epochs, 4 sigma."""
    hits = np.zeros(20)
    batches = training_batches(numbered(20), TINY, PLAIN, 5, 3)
    for epoch in range(400):
        hits[numbers([next(batches(epoch))])[0]] += 1
    assert np.abs(hits - 100).max() < 4 * np.sqrt(400 * 0.25 * 0.75)


# The same numbers whatever the machine does


@pytest.mark.parametrize("section", [PAD, RESIZED], ids=["pad", "resized"])
def test_workers_do_not_change_a_number(photos: Split, section: AugmentSection) -> None:
    alone = training_batches(photos, SMALL, section, 4, 0)
    expected = [list(alone(epoch)) for epoch in range(2)]
    assert not equal(expected[0], expected[1])
    for workers in (1, 2):
        batches = training_batches(photos, SMALL, section, 4, 0, workers=workers)
        for epoch in range(2):
            assert equal(list(batches(epoch)), expected[epoch])
        assert equal(list(batches(1, 2)), expected[1][2:])


def test_workers_do_not_change_an_evaluation(photos: Split) -> None:
    expected = list(evaluation_batches(photos, SMALL, 5))
    assert sum(len(batch.labels) for batch in expected) == len(photos)
    assert equal(list(evaluation_batches(photos, SMALL, 5, workers=2)), expected)


def test_a_start_in_mid_epoch_gives_the_tail(digits: Split) -> None:
    batches = training_batches(digits, GREY, PAD, 100, 0)
    whole = list(batches(3))
    assert len(whole) == 10
    for first in (0, 1, 7, 10):
        fresh = training_batches(digits, GREY, PAD, 100, 0)
        assert equal(list(fresh(3, first)), whole[first:])


def test_an_epoch_left_in_the_middle_does_no_harm(photos: Split) -> None:
    expected = list(training_batches(photos, SMALL, PAD, 4, 0)(1))
    for workers in (0, 2):
        batches = training_batches(photos, SMALL, PAD, 4, 0, workers=workers)
        next(batches(0))
        assert equal(list(batches(1)), expected)


def test_the_global_generator_is_left_as_it_was(photos: Split) -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    for workers in (0, 1):
        for section in (PAD, RESIZED):
            for _ in training_batches(photos, SMALL, section, 4, 0, workers=workers)(0):
                assert torch.equal(torch.get_rng_state(), state)
        list(evaluation_batches(photos, SMALL, 4, workers=workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_generator_does_not_decide(photos: Split) -> None:
    torch.manual_seed(1)
    one = list(training_batches(photos, SMALL, RESIZED, 4, 0)(0))
    torch.manual_seed(2)
    assert equal(list(training_batches(photos, SMALL, RESIZED, 4, 0)(0)), one)


def views(split: Split, seed: int = 0, epoch: int = 0) -> dict[str, Tensor]:
    """The augmented image of each sample by its id."""
    batches = training_batches(split, GREY, PAD, len(split), seed)
    (batch,) = batches(epoch)
    order = order_of(split, seed, epoch)
    return {split.id(place): image for place, image in zip(order, batch.images, strict=True)}


def order_of(split: Split, seed: int, epoch: int) -> list[int]:
    """Places in the order of an epoch, found out from a source that shows them."""
    (batch,) = training_batches(numbered(len(split)), TINY, PLAIN, len(split), seed)(epoch)
    return batch.images[:, 0, 0, 0].tolist()


def test_augmentation_depends_on_the_id_and_not_on_the_place(digits: Split) -> None:
    several = Split("train", digits.source, digits.indices[:40], 1)
    fewer = Split("train", digits.source, digits.indices[10:30], 1)
    one, other = views(several), views(fewer)
    assert len(one) == 40
    assert all(torch.equal(one[name], other[name]) for name in other)
    later = views(several, epoch=1)
    assert sum(torch.equal(one[name], later[name]) for name in one) < 8, "1 of 81 windows is equal"
    seeded = views(several, seed=1)
    assert sum(torch.equal(one[name], seeded[name]) for name in one) < 8


# The pixels


@pytest.mark.parametrize("padding", [0, 1, 4, 40])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 47), (3, 60, 32), (3, 33, 33)])
def test_padded_crop_is_torchvisions(shape: tuple[int, ...], padding: int, flip: bool) -> None:
    section = AugmentSection(crop="pad", padding=padding, flip=flip)
    ours = augmentation(section, Preprocessing(32, min(shape[1:]), (0.5,), (0.25,)))
    reference = [v2.RandomCrop(32, padding=padding or None)]
    reference += [v2.RandomHorizontalFlip()] if flip else []
    image = torch.randint(0, 256, shape, dtype=torch.uint8)
    before = image.clone()
    views = set()
    for seed in range(30):
        torch.manual_seed(seed)
        expected = v2.Compose(reference)(image)
        torch.manual_seed(seed)
        assert torch.equal(ours(image), expected)
        views.add(expected.numpy().tobytes())
    assert len(views) > 1 or (padding == 0 and shape == (1, 32, 32) and not flip)
    assert torch.equal(image, before), "the caller may keep the image"


def test_resized_crop_is_torchvisions() -> None:
    image = torch.randint(0, 256, (3, 60, 45), dtype=torch.uint8)
    ours = augmentation(RESIZED, SMALL)
    crop = v2.RandomResizedCrop(24, scale=(0.35, 1.0), antialias=True)
    for seed in range(30):
        torch.manual_seed(seed)
        expected = v2.RandomHorizontalFlip()(crop(image))
        torch.manual_seed(seed)
        assert torch.equal(ours(image), expected)


def test_no_crop_is_the_evaluation_view(photos: Split) -> None:
    ours = augmentation(AugmentSection(crop="none"), SMALL)
    for place in range(len(photos)):
        assert torch.equal(ours(photos.read(place)), prepare(photos.read(place), SMALL))


@pytest.mark.parametrize("crop", ["pad", "resized", "none"])
@pytest.mark.parametrize("flip", [False, True])
def test_flips_happen_only_where_asked_for(crop: str, flip: bool) -> None:
    # Darker to the right: mirrored if and only if it ends up darker to the left.
    image = torch.arange(200, 40, -4, dtype=torch.uint8).expand(3, 40, 40)
    section = AugmentSection.model_validate({"crop": crop, "flip": flip, "padding": 0})
    ours = augmentation(section, Preprocessing(32, 40, (0.5,) * 3, (0.5,) * 3))
    mirrored = 0
    for seed in range(200):
        torch.manual_seed(seed)
        view = ours(image).float()
        mirrored += bool(view[..., 0].mean() < view[..., -1].mean())
    assert mirrored == 0 if not flip else 70 < mirrored < 130


@pytest.mark.parametrize("height", [20, 28, 41])
@pytest.mark.parametrize("width", [20, 28, 67])
def test_evaluation_view_is_torchvisions(height: int, width: int) -> None:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    reference = v2.Compose([v2.Resize(28, antialias=True), v2.CenterCrop(24)])
    assert torch.equal(prepare(image, SMALL), reference(image))


def test_evaluation_view_with_a_crop_larger_than_the_image() -> None:
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    wide = Preprocessing(32, 20, (0.5,) * 3, (0.5,) * 3)
    assert torch.equal(prepare(image, wide), v2.CenterCrop(32)(image))


def test_evaluation_shows_every_image_once_in_order(photos: Split) -> None:
    batches = list(evaluation_batches(photos, SMALL, 7))
    reference = v2.Compose([v2.Resize(28, antialias=True), v2.CenterCrop(24)])
    expected = [reference(photos.read(place)) for place in range(len(photos))]
    assert torch.equal(torch.cat([batch.images for batch in batches]), torch.stack(expected))
    assert torch.cat([batch.labels for batch in batches]).tolist() == photos.labels.tolist()


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise_is_torchvisions(channels_last: bool) -> None:
    images = torch.randint(0, 256, (5, 3, 24, 24), dtype=torch.uint8)
    before = images.clone()
    ours = normalise(images, SMALL, channels_last)
    scaled = v2.functional.to_dtype(images, torch.float32, scale=True)
    expected = v2.functional.normalize(scaled, list(SMALL.mean), list(SMALL.std))
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert ours.is_contiguous(memory_format=layout)
    assert torch.equal(images, before), "the caller's images are not touched"
