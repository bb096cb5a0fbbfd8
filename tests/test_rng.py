"""The counter-based random numbers against plain integers, one by one."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.tasks.rng import KEYS_PER_BATCH, CounterRNG

MASK, GOLDEN = 2**64 - 1, 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain_bits(seed: int, split: str, episode: int, call: int, count: int) -> list[int]:
    key = zlib.crc32(f"{seed}/{split}".encode()) << 32 | seed & 0xFFFFFFFF
    stream = mix((mix((mix(key) + episode) & MASK) + call * GOLDEN) & MASK)
    return [mix((stream + j * GOLDEN) & MASK) for j in range(1, count + 1)]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**40), st.sampled_from(["train", "val"]), st.lists(st.integers(0, 2**50), min_size=1, max_size=4)
)
def test_bits_are_splitmix_of_a_counter(seed, split, episodes):
    counter = CounterRNG(seed, split, np.array(episodes))
    for call in range(1, 2 * KEYS_PER_BATCH + 2):
        got = counter.bits(2, 3)
        for row, episode in zip(got, episodes, strict=True):
            assert row.ravel().tolist() == plain_bits(seed, split, episode, call, 6)


@pytest.mark.parametrize("count", [4096, 4097])
def test_long_draws_go_on_as_short_ones_begin(count):
    assert CounterRNG(1, "train", np.array([7])).bits(count)[0].tolist() == plain_bits(1, "train", 7, 1, count)


def test_uniform_integers_and_permutations_are_made_of_bits():
    bits = CounterRNG(3, "test", np.arange(5)).bits(9)
    uniform = [[(z >> 11) * 2.0**-53 for z in row] for row in bits.tolist()]
    assert CounterRNG(3, "test", np.arange(5)).uniform(9).tolist() == uniform
    assert CounterRNG(3, "test", np.arange(5)).integers(7, 9).tolist() == [[int(u * 7) for u in row] for row in uniform]
    order = [sorted(range(9), key=row.__getitem__) for row in bits.tolist()]
    assert CounterRNG(3, "test", np.arange(5)).permutation(9).tolist() == order


def test_normal_numbers_have_the_moments_of_a_normal_distribution():
    z = CounterRNG(0, "train", np.arange(200)).normal(500)
    np.testing.assert_allclose([(z**k).mean() for k in (1, 2, 3, 4)], [0, 1, 0, 3], atol=0.05)
    assert np.isfinite(z).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.data())
def test_subsets_are_floyds(population, data):
    """Small populations, so that a number is often drawn twice."""
    size = data.draw(st.integers(1, population))
    counter, same = (CounterRNG(population, "train", np.arange(6)) for _ in range(2))
    draw, order = same.uniform(size), same.permutation(size)
    for got, uniform, place in zip(counter.subset(population, size), draw, order, strict=True):
        chosen: list[int] = []
        for j, top in enumerate(range(population - size, population)):
            pick = int(uniform[j] * (top + 1))
            chosen.append(top if pick in chosen else pick)
        assert got.tolist() == [chosen[p] for p in place]
