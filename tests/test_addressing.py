"""The addressing equations against loops written from the formulas, their bounds, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.models.memory import addressing

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 5))  # B, heads, L, W
fast = settings(max_examples=25, deadline=None)


def weighting(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random weightings, some of them one-hot or nearly so."""
    w = rng.dirichlet(np.full(shape[-1], 10.0 ** rng.uniform(-3, 1)), size=shape[:-1])
    return w / w.sum(-1, keepdims=True)


def call(function, *arrays: np.ndarray) -> np.ndarray:
    return function(*(torch.from_numpy(a) for a in arrays)).numpy()


def is_weighting(w: torch.Tensor) -> None:
    assert (w >= 0).all()
    assert (w <= 1 + 1e-6).all()
    torch.testing.assert_close(w.sum(-1), torch.ones_like(w.sum(-1)))


@fast
@given(seeds, sizes)
def test_cosine_similarity_is_the_formula(seed, size):
    rng, (batch, heads, length, width) = np.random.default_rng(seed), size
    keys, memory = rng.normal(size=(batch, heads, width)), rng.normal(size=(batch, length, width))
    keys += np.sign(keys)  # norms well above the floor
    memory += np.sign(memory)
    expected = np.zeros((batch, heads, length))
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                u, v = keys[b, h], memory[b, i]
                expected[b, h, i] = sum(u * v) / math.sqrt(sum(u * u)) / math.sqrt(sum(v * v))
    np.testing.assert_allclose(call(addressing.cosine_similarity, keys, memory), expected, atol=2e-6)


@fast
@given(seeds, sizes)
def test_content_weighting_is_the_formula(seed, size):
    rng, (batch, heads, length, _) = np.random.default_rng(seed), size
    similarity, strength = rng.uniform(-1, 1, (batch, heads, length)), rng.uniform(0, 20, (batch, heads, 1))
    expected = np.zeros_like(similarity)
    for b, h, i in np.ndindex(*similarity.shape):
        beta = strength[b, h, 0]
        total = sum(math.exp(beta * similarity[b, h, j]) for j in range(length))
        expected[b, h, i] = math.exp(beta * similarity[b, h, i]) / total
    np.testing.assert_allclose(call(addressing.content_weighting, similarity, strength), expected, rtol=1e-9)


@fast
@given(seeds, sizes)
def test_interpolate_is_the_formula(seed, size):
    rng, (batch, heads, length, _) = np.random.default_rng(seed), size
    content, previous = weighting(rng, batch, heads, length), weighting(rng, batch, heads, length)
    gate = rng.uniform(0, 1, (batch, heads, 1))
    expected = np.zeros_like(content)
    for b, h, i in np.ndindex(*content.shape):
        expected[b, h, i] = gate[b, h, 0] * content[b, h, i] + (1 - gate[b, h, 0]) * previous[b, h, i]
    np.testing.assert_allclose(call(addressing.interpolate, content, previous, gate), expected, atol=1e-12)


@fast
@given(seeds, sizes, st.integers(0, 4))
def test_circular_shift_is_the_formula(seed, size, reach):
    rng, (batch, heads, length, _) = np.random.default_rng(seed), size
    length = max(length, 2 * reach + 1)
    weights, shift = weighting(rng, batch, heads, length), weighting(rng, batch, heads, 2 * reach + 1)
    expected = np.zeros_like(weights)
    for b, h, i in np.ndindex(*weights.shape):
        for j in range(length):
            for offset in range(-reach, reach + 1):
                if (i - j - offset) % length == 0:  # s(i - j), indices modulo L
                    expected[b, h, i] += weights[b, h, j] * shift[b, h, offset + reach]
    np.testing.assert_allclose(call(addressing.circular_shift, weights, shift), expected, atol=1e-12)


@fast
@given(seeds, sizes)
def test_sharpen_is_the_formula(seed, size):
    rng, (batch, heads, length, _) = np.random.default_rng(seed), size
    weights, sharpness = weighting(rng, batch, heads, length), rng.uniform(1, 20, (batch, heads, 1))
    expected = np.zeros_like(weights)
    for b, h, i in np.ndindex(*weights.shape):
        gamma = sharpness[b, h, 0]
        expected[b, h, i] = weights[b, h, i] ** gamma / sum(weights[b, h, j] ** gamma for j in range(length))
    np.testing.assert_allclose(call(addressing.sharpen, weights, sharpness), expected, atol=1e-9)


@fast
@given(seeds, sizes)
def test_write_and_read_are_the_formulas(seed, size):
    rng, (batch, heads, length, width) = np.random.default_rng(seed), size
    memory, weights = rng.normal(size=(batch, length, width)), weighting(rng, batch, heads, length)
    gone, new = rng.uniform(size=(batch, heads, width)), rng.normal(size=(batch, heads, width))
    erased, added, reads = memory.copy(), memory.copy(), np.zeros((batch, heads, width))
    for b, h, i, d in np.ndindex(batch, heads, length, width):
        erased[b, i, d] *= 1 - weights[b, h, i] * gone[b, h, d]
        added[b, i, d] += weights[b, h, i] * new[b, h, d]
        reads[b, h, d] += weights[b, h, i] * memory[b, i, d]
    np.testing.assert_allclose(call(addressing.erase, memory, weights, gone), erased, atol=1e-12)
    np.testing.assert_allclose(call(addressing.add, memory, weights, new), added, atol=1e-12)
    np.testing.assert_allclose(call(addressing.read, memory, weights), reads, atol=1e-12)


@fast
@given(seeds, sizes, st.sampled_from([0.0, 1e-6, 1.0, 1e3]), st.sampled_from([0.0, 1.0, 1e3]))
def test_every_weighting_is_one(seed, size, memory_scale, key_scale):
    """Non-negative, at most 1, summing to 1, in float32, at the ends of every range."""
    rng, (batch, heads, length, width) = np.random.default_rng(seed), size
    torch.manual_seed(seed)
    similarity = addressing.cosine_similarity(
        key_scale * torch.randn(batch, heads, width), memory_scale * torch.randn(batch, length, width)
    )
    assert (similarity.abs() <= 1 + 1e-6).all()
    content = addressing.content_weighting(similarity, 20 * torch.rand(batch, heads, 1))
    is_weighting(content)
    previous = torch.from_numpy(weighting(rng, batch, heads, length)).float()
    mixed = addressing.interpolate(content, previous, torch.rand(batch, heads, 1).round())
    is_weighting(mixed)
    reach = min(2, (length - 1) // 2)
    moved = addressing.circular_shift(mixed, torch.softmax(9 * torch.randn(batch, heads, 2 * reach + 1), -1))
    is_weighting(moved)
    is_weighting(addressing.sharpen(moved, 1 + 20 * torch.rand(batch, heads, 1)))


@pytest.mark.parametrize("offset", [-2, -1, 0, 1, 2])
def test_a_positive_offset_moves_up_and_wraps(offset):
    shift = torch.zeros(1, 1, 5)
    shift[..., offset + 2] = 1
    for start in range(5):
        moved = addressing.circular_shift(torch.eye(5)[start].view(1, 1, 5), shift)
        assert moved.argmax().item() == (start + offset) % 5
        assert moved.max() == 1


def test_one_hot_survives_sharpening_unchanged():
    for gamma in (1.0, 21.0):
        sharp = addressing.sharpen(torch.eye(128).unsqueeze(0), torch.full((1, 128, 1), gamma))
        torch.testing.assert_close(sharp, torch.eye(128).unsqueeze(0), rtol=0, atol=1e-6)


def test_an_empty_row_is_like_no_key():
    memory = torch.zeros(1, 4, 3)
    memory[0, 2] = torch.tensor([3.0, 0.0, 4.0])
    similarity = addressing.cosine_similarity(torch.tensor([[[0.3, 0.0, 0.4]]]), memory)
    torch.testing.assert_close(similarity, torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 1e-6, 1e-30])
def test_empty_memory_gives_no_nan_in_value_or_gradient(fill):
    memory = torch.full((2, 6, 3), fill, requires_grad=True)
    keys = torch.zeros(2, 2, 3, requires_grad=True)
    one_hot = torch.zeros(2, 2, 6)
    one_hot[..., 0] = 1
    gamma, gate = torch.full((2, 2, 1), 21.0, requires_grad=True), torch.zeros(2, 2, 1, requires_grad=True)
    shift = torch.tensor([0.0, 1.0, 0.0]).expand(2, 2, 3).clone().requires_grad_()
    content = addressing.content_weighting(addressing.cosine_similarity(keys, memory), gamma)
    weights = addressing.circular_shift(addressing.interpolate(content, one_hot, gate), shift)
    weights = addressing.sharpen(weights, gamma)
    loss = (addressing.read(memory, weights) + weights.square().sum(-1, keepdim=True)).sum()
    loss.backward()
    assert loss.isfinite()
    for leaf in (memory, keys, gamma, gate, shift):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


def test_gradients_are_the_numerical_ones():
    torch.manual_seed(0)
    batch, heads, length, width = 2, 2, 5, 3

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64).requires_grad_()

    def soft(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64).softmax(-1).requires_grad_()

    keys, memory = leaf(batch, heads, width), leaf(batch, length, width)
    weights, previous, shift = soft(batch, heads, length), soft(batch, heads, length), soft(batch, heads, 3)
    scalar = (1 + torch.rand(batch, heads, 1, dtype=torch.float64)).requires_grad_()
    check = torch.autograd.gradcheck
    assert check(addressing.cosine_similarity, (keys, memory))
    assert check(addressing.content_weighting, (leaf(batch, heads, length), scalar))
    assert check(addressing.interpolate, (weights, previous, scalar))
    assert check(addressing.circular_shift, (weights, shift))
    assert check(addressing.sharpen, (weights, scalar))
    assert check(addressing.erase, (memory, weights, keys))
    assert check(addressing.add, (memory, weights, keys))
    assert check(addressing.read, (memory, weights))
