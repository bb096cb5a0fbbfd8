"""Images taken from the table and moved: plain and compiled, against each other and against float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.compute import jit
from metacli.tasks.images import augment, augment_jit

numba = pytest.importorskip("numba")


def table(seed: int, images: int, channels: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    bytes_ = torch.randint(0, 256, (images, channels * size * size), dtype=torch.uint8, generator=generator)
    return bytes_ * (bytes_ > 128)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9), st.integers(1, 3), st.integers(4, 33), st.lists(st.integers(0, 8), max_size=20))
def test_compiled_taking_is_the_plain_one_bit_for_bit(seed, channels, size, rows):

    images, row, shape = table(seed, 9, channels, size), np.array(rows, np.int64), (channels, size, size)
    plain, got = (module.gather(images, row, shape) for module in (augment, augment_jit))
    assert got.shape == plain.shape == (len(rows), *shape)
    assert torch.equal(got, plain)
    assert torch.equal((got * 255).round().to(torch.uint8), images[row].view(-1, *shape))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(1, 3), st.integers(4, 33), st.floats(0, 3.2), st.floats(0, 2.5))
def test_moving_against_float64(seed, channels, size, most_angle, most_shift):
    """Also images that leave the picture altogether, and edges that lie on a pixel."""

    random, shape = np.random.default_rng(seed), (channels, size, size)
    images, row = table(seed, 5, channels, size), random.integers(0, 5, 7)
    angle, shift = most_angle * random.uniform(-1, 1, 7), most_shift * size * random.uniform(-1, 1, (7, 2))
    angle[0], shift[1] = 0, np.round(shift[1])
    lean = augment.shear_matrices(1.5 ** random.uniform(-1, 1, (7, 2)), 0.5 * random.uniform(-1, 1, 7))
    origin = augment.rotation_matrices(angle) @ np.where(np.arange(7)[:, None, None] % 2, lean, np.eye(2))
    plain, got = (module.gather_transformed(images, row, shape, origin, shift) for module in (augment, augment_jit))
    for m in range(7):
        truth = bilinear(images[row[m]].view(shape).double().numpy() / 255, origin[m], shift[m])
        for name, x in (("plain", plain), ("compiled", got)):
            np.testing.assert_allclose(x[m], truth, rtol=0, atol=2e-5, err_msg=name)
    assert got.min() >= 0
    assert got.max() <= 1


def bilinear(x: np.ndarray, origin: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(C, H, H) float64: every pixel of the result weighs every pixel of the image."""
    size = x.shape[-1]
    place = np.arange(size)
    u, v = np.meshgrid(place - (size - 1) / 2 - shift[0], place - (size - 1) / 2 - shift[1])
    column = origin[0, 0] * u + origin[0, 1] * v + (size - 1) / 2
    row = origin[1, 0] * u + origin[1, 1] * v + (size - 1) / 2
    by_column = np.maximum(0, 1 - np.abs(column[..., None] - place))  # (H, H, H)
    by_row = np.maximum(0, 1 - np.abs(row[..., None] - place))
    return np.einsum("crs,ijr,ijs->cij", x, by_row, by_column)


def test_without_motion_an_image_stays_as_it_is():

    images, row = table(0, 4, 1, 28), np.arange(4)
    for module in (augment, augment_jit):
        still = module.gather_transformed(images, row, (1, 28, 28), np.eye(2)[None].repeat(4, 0), np.zeros((4, 2)))
        torch.testing.assert_close(still, augment.gather(images, row, (1, 28, 28)), rtol=0, atol=5e-6)


@pytest.fixture
def _no_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    jit._missing.cache_clear()
    yield
    jit._missing.cache_clear()


def test_with_numba_the_compiled_loops_serve():
    assert jit.available()
    assert jit.reason() == f"numba {numba.__version__}"
    assert augment.select_backend().__name__ == "metacli.tasks.images.augment_jit"


@pytest.mark.usefixtures("_no_numba")
def test_with_a_disabled_compiler_the_plain_path_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", numba)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert jit.reason() == "numba cannot be used (NUMBA_DISABLE_JIT is set)"
    assert augment.select_backend() is augment


@pytest.mark.usefixtures("_no_numba")
def test_without_numba_the_plain_path_serves_and_says_how_to_get_it():
    assert not jit.available()
    assert "pip install 'metacli[fast]'" in jit.reason()
    assert augment.select_backend() is augment


def test_turns_and_leans_say_where_a_point_came_from():
    angle, factor = np.array([0.3, -1.0]), np.array([[1.5, 0.8], [1.0, 2.0]])
    point = np.array([[2.0, 1.0], [0.5, -3.0]])
    clockwise = np.stack(
        [
            np.cos(angle) * point[:, 0] + np.sin(angle) * point[:, 1],
            np.cos(angle) * point[:, 1] - np.sin(angle) * point[:, 0],
        ],
        1,
    )  # y points down: so anti-clockwise
    np.testing.assert_allclose(np.einsum("mij,mj->mi", augment.rotation_matrices(angle), clockwise), point)
    stretched = factor * point
    leant = stretched - np.stack([np.tan(angle) * stretched[:, 1], 0 * angle], 1)
    back = np.einsum("mij,mj->mi", augment.shear_matrices(factor, angle), leant)
    np.testing.assert_allclose(back[:, 1], point[:, 1])
    np.testing.assert_allclose(back[:, 0], point[:, 0])
