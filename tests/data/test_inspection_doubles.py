"""The search of near pairs against all pairs, and groups against another library's components."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from numpy.typing import NDArray

from vertebra.data import open_dataset
from vertebra.data.inspection import duplicates as module
from vertebra.data.inspection.duplicates import find_duplicates
from vertebra.data.inspection.neighbours import comparisons, near_pairs
from vertebra.data.inspection.scan import Scan, scan


def clumped(count: int, seed: int) -> NDArray[np.uint64]:
    """Hashes of which many lie near each other, at every distance up to 12."""
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, count // 10, dtype=np.uint64)
    hashes = centres[generator.integers(0, len(centres), count)]
    for place in range(count):
        for bit in generator.choice(64, generator.integers(0, 7), replace=False):
            hashes[place] ^= np.uint64(1 << int(bit))
    return hashes


def everything(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.ones(len(one), dtype=np.bool_)


@pytest.mark.parametrize("bits", [0, 1, 4, 6, 7])
def test_search_finds_what_comparing_all_with_all_finds(bits: int) -> None:
    hashes = clumped(600, bits)
    one, other = near_pairs(hashes, bits, everything)
    numbers = [int(value) for value in hashes]
    wanted = [
        (i, j)
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if (numbers[i] ^ numbers[j]).bit_count() <= bits
    ]
    assert len(wanted) > 50
    assert list(zip(one.tolist(), other.tolist(), strict=True)) == wanted


def test_search_in_parts_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = clumped(500, 1)
    whole = near_pairs(hashes, 6, everything)
    monkeypatch.setattr("vertebra.data.inspection.neighbours._AT_ONCE", 7)
    parts = near_pairs(hashes, 6, everything)
    np.testing.assert_array_equal(whole, parts)


def test_search_asks_what_to_keep() -> None:
    hashes = clumped(500, 2)
    one, other = near_pairs(hashes, 6, lambda a, b: (a + b) % 2 == 0)
    assert len(one)
    assert ((one + other) % 2 == 0).all()


def test_search_of_few_hashes() -> None:
    for count in (0, 1):
        one, other = near_pairs(np.zeros(count, dtype=np.uint64), 6, everything)
        assert len(one) == len(other) == 0


def test_random_hashes_cost_far_less_than_all_pairs() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    assert comparisons(hashes) < 100_000 * 99_999 // 2 / 500


def planted(signatures: NDArray[np.int8], hashes: list[int], digests: list[int]) -> Scan:
    found = Scan.empty(np.arange(len(hashes)), 3)
    found.seen[:] = found.hashed[:] = True
    found.signatures[:] = signatures
    found.hashes[:] = np.array(hashes, dtype=np.uint64)
    found.digests[:, 0] = digests
    return found


def random_scan(count: int, seed: int, noise: int) -> Scan:
    """Copies of a few pictures, some to the byte, some with up to 6 bits and noise between."""
    generator = np.random.default_rng(seed)
    originals = generator.integers(-127, 128, (count // 3, 99))
    centres = generator.integers(0, 2**63, count // 3)
    which = generator.integers(0, count // 3, count)
    signatures, hashes, digests = [], [], []
    for place, number in enumerate(which.tolist()):
        exact = generator.random() < 0.3
        shift = 0 if exact else generator.integers(-noise, noise + 1, 99)
        signatures.append(np.clip(originals[number] + shift, -127, 127).astype(np.int8))
        flips = [] if exact else generator.choice(63, generator.integers(0, 4), replace=False)
        hashes.append(int(centres[number]) ^ sum(1 << int(bit) for bit in flips))
        digests.append(number if exact else 1000 + place)
    return planted(np.array(signatures), hashes, digests)


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_the_components_of_all_pairs(seed: int) -> None:
    found = random_scan(200, seed, noise=6)
    graph = networkx.Graph()
    vectors = found.signatures.astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    for i in range(200):
        for j in range(i):
            bits = int(found.hashes[i] ^ found.hashes[j]).bit_count()
            equal = found.digests[i, 0] == found.digests[j, 0]
            if equal or (bits <= module.MOST_BITS and cosines[i, j] >= module.LEVELS[0][0]):
                graph.add_edge(i, j)
    wanted = sorted(sorted(part) for part in networkx.connected_components(graph))
    groups = find_duplicates(found)
    assert len(wanted) > 20
    assert [group.tolist() for group in groups] == wanted
    for group, exact in zip(groups, groups.exact.tolist(), strict=True):
        assert exact == (len(set(found.digests[group, 0].tolist())) == 1)


def test_a_long_chain_is_one_group() -> None:
    count = 300
    hashes = [0]
    for place in range(count - 1):
        hashes.append(hashes[-1] ^ (1 << (place * 7 % 64)))
    generator = np.random.default_rng(0)
    one_picture = np.tile(generator.integers(-127, 128, 99).astype(np.int8), (count, 1))
    # No two hashes are equal, so only neighbours hold the chain together.
    found = planted(one_picture, hashes, list(range(count)))
    assert [len(group) for group in find_duplicates(found)] == [count]


def test_pictures_that_shade_into_one_another_are_not_reported() -> None:
    generator = np.random.default_rng(0)
    kind = generator.integers(-100, 101, 99)
    # Of one kind: all agree to between 0.9 and 1, without a gap.
    spread = generator.uniform(5, 40, (200, 1))
    signatures = kind + generator.normal(0, 1, (200, 99)) * spread
    found = planted(signatures.clip(-127, 127).astype(np.int8), [5] * 200, list(range(200)))
    groups = find_duplicates(found)
    assert len(groups) == 0
    assert "one kind" in groups.notes[0]
    # Equal files are told all the same.
    found.digests[7] = found.digests[3]
    assert [group.tolist() for group in find_duplicates(found)] == [[3, 7]]


def test_clumped_hashes_end_the_search_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COMPARISONS", 10)
    groups = find_duplicates(random_scan(100, 0, noise=3))
    assert groups.exact.all()
    assert "too alike" in groups.notes[0]


def test_digits_have_no_duplicates() -> None:
    dataset = open_dataset("digits")
    found = scan(dataset.source, np.arange(1797), 1)
    assert found.hashed.sum() > 1000  # so it is not for want of hashes
    assert len(find_duplicates(found)) == 0
