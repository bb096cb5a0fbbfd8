"""Hands and the pen: every drawing of a character is another hand, inked with Omniglot's pen on Omniglot's page."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from metacli.tasks.rng import CounterRNG

PIXELS = 105  # height and width of the page
LEGS = 5  # of a stroke at most
POINTS = 8  # of a leg, joined by straight lines
MARGIN = 2  # pixels that the pen reaches beyond a point
ORDERS = 4  # of the waves that bend the page, across and down

# how much hands differ, fitted to Omniglot's drawings of one character by statistics and by eye
HAND_BENDS = [5.2, 4.2, 2.4, 1.6, 1.2, 1.0, 0.8]  # pixels, by order; see `waves`
TREMOR = 2.5  # pixels, of every knot
SHIFT = 1.7  # pixels, of a stroke against the others
ROUNDING = 0.2  # of a bulge, and radians of each of its ends

# from where a leg begins, where it ends and its velocities there to the coefficients of a cubic (Hermite)
HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], float)


class Strokes(NamedTuple):
    """The N strokes of C characters as they are meant, one character after the other; K = LEGS + 1 knots.

    Attributes:
        owner: (N,) int64, the row of the character.
        number: (N,) int64, of the stroke in its family.
        knots: (N, K) complex128, what the stroke goes through: pixels from the middle of the page, x to the right,
            y down.
        legs: (N,) int64, how many legs are drawn, the first knots' first.
        bulge: (N, LEGS) in radians, between a leg's chord and its ends; pi / 2 is a half circle.
        smooth: (N, K) bool, where one leg runs on into the next without a corner.
    """

    owner: np.ndarray
    number: np.ndarray
    knots: np.ndarray
    legs: np.ndarray
    bulge: np.ndarray
    smooth: np.ndarray


def written(seed: int, numbers: np.ndarray, strokes: Strokes, drawings: int) -> tuple[np.ndarray, np.ndarray]:
    """What the hands do: the page bent smoothly, then every knot and curve a little off.

    Args:
        seed: of the family.
        numbers: (C,) int64, which characters of the family.
        strokes: of these characters.
        drawings: of each; drawing d is the same however many there are.

    Returns:
        (M, drawings, POINTS + 1) complex128, the M legs in pixels of the page, and (M,) the row of their character.
    """
    hand, tremor = CounterRNG(seed, "strokes hand", numbers), CounterRNG(seed, "strokes tremor", strokes.number)
    bend = bends(hand, HAND_BENDS, drawings)[strokes.owner]  # (N, D, W)
    knots = strokes.knots[:, None] + bend @ waves(strokes.knots).swapaxes(1, 2)  # (N, D, K)
    knots += TREMOR * _around(tremor, drawings, LEGS + 1) + SHIFT * _around(tremor, drawings, 1)

    chord = np.diff(knots)  # (N, D, LEGS)
    bulge = strokes.bulge[:, None] * (1 + ROUNDING * normal(tremor, drawings, LEGS))
    begin = _velocity(chord, -bulge - ROUNDING * normal(tremor, drawings, LEGS))
    end = _velocity(chord, bulge + ROUNDING * normal(tremor, drawings, LEGS))
    through = 0.6 * (knots[..., 2:] - knots[..., :-2])  # (N, D, LEGS - 1), as in a Catmull-Rom spline
    smooth = strokes.smooth[:, None, 1:-1]
    begin[..., 1:] = np.where(smooth, through, begin[..., 1:])
    end[..., :-1] = np.where(smooth, through, end[..., :-1])

    drawn = np.arange(LEGS) < strokes.legs[:, None]  # (N, LEGS)
    owner = np.repeat(strokes.owner, strokes.legs)
    control = np.stack([knots[..., :-1], knots[..., 1:], begin, end], -1).swapaxes(1, 2)[drawn]  # (M, D, 4)
    basis = np.linspace(0, 1, POINTS + 1)[:, None] ** np.arange(4) @ HERMITE
    lines = control @ basis.T + (1 + 1j) * PIXELS / 2
    return lines + _back(*extent(lines, owner))[owner][..., None], owner


def inked(lines: np.ndarray, page: np.ndarray, pages: int) -> np.ndarray:
    """Lines drawn with a round pen of 5 pixels, as Omniglot's.

    Args:
        lines: (M, P) complex, the points of each line in pixels.
        page: (M,) int64, the page of each.
        pages: how many there are.

    Returns:
        (pages, PIXELS, PIXELS) uint8, ink 255 on paper 0.
    """
    reach = np.diff(lines)
    steps = np.ceil(np.maximum(np.abs(reach.real), np.abs(reach.imag)) / 1.5).astype(np.int64).clip(1)
    page = np.concatenate([page, np.repeat(page, steps.sum(1))])
    steps = steps.ravel()
    nth = np.arange(steps.sum()) - np.repeat(steps.cumsum() - steps, steps) + 1
    points = np.repeat(lines[:, :-1].ravel(), steps) + nth * np.repeat(reach.ravel() / steps, steps)
    points = np.concatenate([lines[:, 0], points])
    x, y = (np.rint(axis).astype(np.int64).clip(MARGIN, PIXELS - 1 - MARGIN) for axis in (points.real, points.imag))
    ink = np.zeros(pages * PIXELS * PIXELS, np.uint8)
    ink[(page * PIXELS + y) * PIXELS + x] = 255
    square = _grown(_grown(ink, 1), PIXELS)
    return (_grown(square, 1) | _grown(square, PIXELS)).reshape(pages, PIXELS, PIXELS)


def resized(pages: np.ndarray, size: int) -> np.ndarray:
    """(pages, size, size) uint8, by the Lanczos filter as Omniglot is."""
    small = [Image.fromarray(page).resize((size, size), Image.Resampling.LANCZOS) for page in pages]
    return np.stack([np.asarray(page) for page in small])


def waves(points: np.ndarray) -> np.ndarray:
    """(..., W = ORDERS^2): cosine waves over the page at `points`, complex in pixels from its middle.

    A sum of them moves points smoothly, so that what meets still meets: order 0 shifts, order 1 is nearly a stretch
    or a slant, higher ones bend.
    """
    order = np.arange(ORDERS)
    across, down = (np.cos(np.pi * order * (axis / PIXELS + 0.5)[..., None]) for axis in (points.real, points.imag))
    return (across[..., :, None] * down[..., None, :]).reshape(*points.shape, -1)


def bends(draw: CounterRNG, pixels: list[float], *shape: int) -> np.ndarray:
    """(B, *shape, W) complex: a random amount of each of the `waves`, of that many pixels by order."""
    order = np.add.outer(np.arange(ORDERS), np.arange(ORDERS)).ravel()
    return np.array(pixels)[order] * _around(draw, *shape, ORDERS**2)


def extent(points: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box around each owner's points.

    Args:
        points: (N, ..., P) complex.
        owner: (N,) int64, sorted, every owner present.

    Returns:
        The low and the high corner, each (C, ...) complex.
    """
    start = np.flatnonzero(np.diff(owner, prepend=-1))
    low = [np.minimum.reduceat(axis.min(-1), start) for axis in (points.real, points.imag)]
    high = [np.maximum.reduceat(axis.max(-1), start) for axis in (points.real, points.imag)]
    return low[0] + 1j * low[1], high[0] + 1j * high[1]


def normal(draw: CounterRNG, *shape: int) -> np.ndarray:
    """(B, *shape) standard normal (Box and Muller 1958)."""
    return np.sqrt(-2 * np.log1p(-draw.uniform(*shape))) * np.cos(2 * np.pi * draw.uniform(*shape))


def _around(draw: CounterRNG, *shape: int) -> np.ndarray:
    """(B, *shape) complex: a standard normal each way."""
    return normal(draw, *shape) + 1j * normal(draw, *shape)


def _velocity(chord: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The velocity at the end of a leg that makes it an arc with that angle between chord and end."""
    return chord * np.exp(1j * angle) / np.maximum(np.cos(angle / 2) ** 2, 0.2)


def _back(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far to move what reaches over the edge of the page."""
    most = PIXELS - 1 - MARGIN
    over = ((low.real, high.real), (low.imag, high.imag))
    x, y = (np.maximum(MARGIN - first, 0) - np.maximum(last - most, 0) for first, last in over)
    return x + 1j * y


def _grown(ink: np.ndarray, step: int) -> np.ndarray:
    """Ink spread to the pixels `step` before and after; MARGIN keeps it off the next line."""
    grown = ink.copy()
    grown[step:] |= ink[:-step]
    grown[:-step] |= ink[step:]
    return grown
