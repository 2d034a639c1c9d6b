"""Random addresses: what makes two of them differ, and what must never matter."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from vertebra.core import address, rng

# Every pair would collide if parts were joined without their ends or their types.
SPLITS: list[tuple[str, tuple[int | str, ...]]] = [
    ("p", (1, "2")),
    ("p", ("12",)),
    ("p", (12,)),
    ("p", ("1", "2")),
    ("p", ("1", 2)),
    ("p", (1, 2)),
    ("p", (2, 1)),
    ("p1", ("2",)),
    ("p", ("1", "2", "")),
    ("p", ("", "1", "2")),
    ("p", ()),
    ("p", ("",)),
    ("p", (0,)),
    ("", ("p",)),
]


def test_every_way_to_split_the_same_text_is_its_own_address() -> None:
    seeds = [address(0, purpose, *counters) for purpose, counters in SPLITS]
    assert len(set(seeds)) == len(SPLITS)
    draws = [rng(0, purpose, *counters).integers(2**63) for purpose, counters in SPLITS]
    assert len(set(draws)) == len(SPLITS)


def test_the_seed_counts() -> None:
    assert len({address(seed, "p") for seed in (-1, 0, 1, 2, 10, 2**40)}) == 6


def test_equal_addresses_give_equal_numbers() -> None:
    assert address(7, "augment", 3, "cat.png") == address(7, "augment", 3, "cat.png")
    first, second = rng(7, "augment", 3), rng(7, "augment", 3)
    assert first is not second
    assert np.array_equal(first.random(100), second.random(100))


def test_the_order_of_calls_does_not_matter() -> None:
    keys = list(itertools.product(range(5), ("a", "b")))
    forward = {key: rng(0, "shuffle", *key).random(4).tolist() for key in keys}
    backward = {key: rng(0, "shuffle", *key).random(4).tolist() for key in reversed(keys)}
    assert forward == backward


def test_another_process_with_another_hash_seed_agrees() -> None:
    # Python salts hash() a process; an address built on it would change from run to run.
    code = "from vertebra.core import address; print(address(3, 'x', 1, 'y'))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }
    assert seen == {str(address(3, "x", 1, "y"))}


def test_addresses_fit_a_signed_64_bit_seed_and_use_all_63_bits() -> None:
    seeds = np.array([address(0, "bits", index) for index in range(4000)], dtype=object)
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    for bit in range(63):
        ones = sum(int(seed) >> bit & 1 for seed in seeds)
        # Six standard deviations of a fair coin thrown 4000 times.
        assert abs(ones - 2000) < 6 * (4000 * 0.25) ** 0.5, f"bit {bit}: {ones} ones of 4000"


@pytest.mark.parametrize("by_counter", [True, False])
def test_draws_are_uniform(by_counter: bool) -> None:
    """Along one address, and as the first number of neighbouring ones, which is how they serve."""
    if by_counter:
        draws = np.array([rng(0, "u", index).random() for index in range(4000)])
    else:
        draws = rng(0, "u").random(4000)
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    chi_square = float(((counts - 200) ** 2 / 200).sum())
    # 19 degrees of freedom: 43.8 has a probability of 0.001.
    assert chi_square < 43.8


def test_neighbouring_addresses_are_not_correlated() -> None:
    rows = np.stack([rng(0, "noise", index).standard_normal(2000) for index in range(8)])
    correlation = np.corrcoef(rows) - np.eye(8)
    assert np.abs(correlation).max() < 6 / 2000**0.5
