"""The row functions that compiled code is made of, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from metacli.models.memory.fast import elementwise, kernels
from metacli.models.memory.fast.product import add_product

check = settings(max_examples=40, deadline=None)
lengths, seeds = st.integers(1, 70), st.integers(0, 2**32 - 1)


def row(seed: int, length: int, scale: float, dtype: type = np.float32) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=length) * scale).astype(dtype)


def apply(function, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    function(x, out, elementwise.make_scratch(len(x), x.dtype))
    return out


@check
@given(seeds, lengths, st.sampled_from([0.01, 1.0, 10.0, 30.0]))
def test_elementary_functions_are_exact_to_the_last_bits(seed, length, scale):
    x = row(seed, length, scale).clip(-80, 80)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(apply(elementwise.exp, x), np.exp(wide), rtol=3e-7)
    np.testing.assert_allclose(
        apply(elementwise.log, np.abs(x) + np.float32(1e-12)),
        np.log(np.abs(x) + np.float32(1e-12)),
        rtol=3e-7,
        atol=2e-7,
    )
    np.testing.assert_allclose(apply(elementwise.sigmoid, x), 1 / (1 + np.exp(-wide)), rtol=3e-7)
    np.testing.assert_allclose(apply(elementwise.tanh, x), np.tanh(wide), atol=2e-7)
    for function, expected in ((elementwise.exp, np.exp), (elementwise.tanh, np.tanh)):
        np.testing.assert_allclose(apply(function, wide), expected(wide), rtol=1e-14)


def test_extremes():
    x = np.array([-1e30, -200, -87, 0, 88, np.nan, np.inf, -np.inf], np.float32)
    found = apply(elementwise.exp, x)
    assert (found[:3] < 1e-37).all()
    assert found[3] == 1
    assert np.isnan(found[5])
    assert found[6] > 1e38
    assert found[7] < 1e-37
    for function in (elementwise.sigmoid, elementwise.tanh, elementwise.log):
        assert np.isnan(apply(function, np.array([np.nan, 1], np.float32))[0])


@check
@given(seeds, lengths)
def test_softmax_and_its_gradient(seed, length):
    x = row(seed, length, 5, np.float64)
    expected = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    out = np.empty_like(x)
    kernels.softmax(x.copy(), out, elementwise.make_scratch(length, x.dtype))
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    d = row(seed + 1, length, 1, np.float64)
    gradient = d.copy()
    kernels.softmax_backward(out, gradient)
    jacobian = np.diag(expected) - np.outer(expected, expected)
    np.testing.assert_allclose(gradient, jacobian @ d, atol=1e-12)


@check
@given(seeds, st.integers(1, 5), st.integers(1, 40), st.integers(1, 3), st.integers(0, 3))
def test_write_is_erase_then_add(seed, width, locations, adders, erasers):
    rng = np.random.default_rng(seed)
    memory, written = rng.normal(size=(width, locations)), np.empty((width, locations))
    erasing, erase = rng.random((erasers, locations)), rng.random((erasers, width))
    adding, add = rng.random((adders, locations)), rng.normal(size=(adders, width))
    kernels.write(memory, erasing, erase, adding, add, written)
    for w in range(width):
        for i in range(locations):
            expected = memory[w, i]
            for h in range(erasers):
                expected *= 1 - erasing[h, i] * erase[h, w]
            for h in range(adders):
                expected += adding[h, i] * add[h, w]
            assert written[w, i] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sizes", [(1, 3, 5), (3, 4, 8), (4, 25, 7), (6, 50, 33), (13, 24, 16)])
def test_product_is_added_for_every_remainder_of_the_blocks(sizes):
    tasks, inputs, outputs = sizes
    rng = np.random.default_rng(0)
    x, matrix, out = (
        rng.normal(size=(tasks, inputs + 2)),
        rng.normal(size=(inputs, outputs)),
        rng.normal(size=(tasks, outputs)),
    )
    expected = out + x[:, :inputs] @ matrix
    add_product(x[:, :inputs], matrix, out)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12)
