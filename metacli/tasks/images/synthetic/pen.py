"""Draws characters with the variation of handwriting, with Omniglot's pen on Omniglot's page."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from metacli.tasks.rng import CounterRNG

PIXELS = 105  # height and width of the page
MAX_LEGS = 5  # legs of a stroke
POINTS_PER_LEG = 8  # joined by straight lines
MARGIN = 2  # pixels, the radius of the pen
WAVE_ORDERS = 4  # orders of the waves that bend the page, horizontally and vertically

# standard deviations between drawings, fitted to Omniglot's drawings of one character by statistics and by eye
HAND_BENDS = [5.2, 4.2, 2.4, 1.6, 1.2, 1.0, 0.8]  # pixels, by order; see `cosine_waves`
TREMOR = 2.5  # pixels, for every knot
SHIFT = 1.7  # pixels, for every stroke
ROUNDING = 0.2  # relative, for a bulge; radians, for each end of a leg

# maps the ends of a leg and the velocities there to the coefficients of a cubic (Hermite)
HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], float)


class Strokes(NamedTuple):
    """The N ideal strokes of C characters, one character after the other; K = MAX_LEGS + 1 knots.

    Attributes:
        owner: (N,) int64, the row of the character.
        stroke_number: (N,) int64, the number of the stroke in its family.
        knots: (N, K) complex128, the points of the stroke: pixels from the centre of the page, x to the right, y down.
        legs: (N,) int64, the number of legs that are drawn.
        bulge: (N, MAX_LEGS) in radians, the angle between a leg's chord and its ends; pi / 2 is a half circle.
        smooth: (N, K) bool, whether two legs meet without a corner.
    """

    owner: np.ndarray
    stroke_number: np.ndarray
    knots: np.ndarray
    legs: np.ndarray
    bulge: np.ndarray
    smooth: np.ndarray


def draw_strokes(seed: int, numbers: np.ndarray, strokes: Strokes, drawings: int) -> tuple[np.ndarray, np.ndarray]:
    """Varies strokes as in handwriting: bends the page smoothly, then moves every knot and curve a little.

    Args:
        seed: seed of the family.
        numbers: (C,) int64, the characters of the family.
        strokes: the strokes of these characters.
        drawings: number of drawings of each; drawing d does not depend on it.

    Returns:
        (M, drawings, POINTS_PER_LEG + 1) complex128, the M legs in pixels, and (M,) the row of their character.
    """
    hand, tremor = CounterRNG(seed, "strokes hand", numbers), CounterRNG(seed, "strokes tremor", strokes.stroke_number)
    bend = sample_bends(hand, HAND_BENDS, drawings)[strokes.owner]  # (N, D, W)
    knots = strokes.knots[:, None] + bend @ cosine_waves(strokes.knots).swapaxes(1, 2)  # (N, D, K)
    knot_offset = TREMOR * _sample_complex_normal(tremor, drawings, MAX_LEGS + 1)
    knots += knot_offset + SHIFT * _sample_complex_normal(tremor, drawings, 1)

    chord = np.diff(knots)  # (N, D, LEGS)
    bulge = strokes.bulge[:, None] * (1 + ROUNDING * sample_normal(tremor, drawings, MAX_LEGS))
    start_velocity = _velocity(chord, -bulge - ROUNDING * sample_normal(tremor, drawings, MAX_LEGS))
    end_velocity = _velocity(chord, bulge + ROUNDING * sample_normal(tremor, drawings, MAX_LEGS))
    smooth_velocity = 0.6 * (knots[..., 2:] - knots[..., :-2])  # (N, D, LEGS - 1), as in a Catmull-Rom spline
    smooth = strokes.smooth[:, None, 1:-1]
    start_velocity[..., 1:] = np.where(smooth, smooth_velocity, start_velocity[..., 1:])
    end_velocity[..., :-1] = np.where(smooth, smooth_velocity, end_velocity[..., :-1])

    is_drawn = np.arange(MAX_LEGS) < strokes.legs[:, None]  # (N, LEGS)
    owner = np.repeat(strokes.owner, strokes.legs)
    control = np.stack([knots[..., :-1], knots[..., 1:], start_velocity, end_velocity], -1)  # (N, D, LEGS, 4)
    control = control.swapaxes(1, 2)[is_drawn]  # (M, D, 4)
    basis = np.linspace(0, 1, POINTS_PER_LEG + 1)[:, None] ** np.arange(4) @ HERMITE
    lines = control @ basis.T + (1 + 1j) * PIXELS / 2
    return lines + _shift_into_page(*bounding_boxes(lines, owner))[owner][..., None], owner


def rasterize(lines: np.ndarray, page: np.ndarray, pages: int) -> np.ndarray:
    """Draws lines with a round pen of 5 pixels, like Omniglot's.

    Args:
        lines: (M, P) complex, the points of each line in pixels.
        page: (M,) int64, the page of each line.
        pages: number of pages.

    Returns:
        (pages, PIXELS, PIXELS) uint8, ink 255 on paper 0.
    """
    segment = np.diff(lines)
    steps = np.ceil(np.maximum(np.abs(segment.real), np.abs(segment.imag)) / 1.5).astype(np.int64).clip(1)
    page = np.concatenate([page, np.repeat(page, steps.sum(1))])
    steps = steps.ravel()
    point_number = np.arange(steps.sum()) - np.repeat(steps.cumsum() - steps, steps) + 1
    points = np.repeat(lines[:, :-1].ravel(), steps) + point_number * np.repeat(segment.ravel() / steps, steps)
    points = np.concatenate([lines[:, 0], points])
    x, y = (np.rint(axis).astype(np.int64).clip(MARGIN, PIXELS - 1 - MARGIN) for axis in (points.real, points.imag))
    ink = np.zeros(pages * PIXELS * PIXELS, np.uint8)
    ink[(page * PIXELS + y) * PIXELS + x] = 255
    square = _dilate(_dilate(ink, 1), PIXELS)
    return (_dilate(square, 1) | _dilate(square, PIXELS)).reshape(pages, PIXELS, PIXELS)


def resize_pages(pages: np.ndarray, size: int) -> np.ndarray:
    """Scales pages to (pages, size, size) uint8 with the Lanczos filter, as for Omniglot."""
    small = [Image.fromarray(page).resize((size, size), Image.Resampling.LANCZOS) for page in pages]
    return np.stack([np.asarray(page) for page in small])


def cosine_waves(points: np.ndarray) -> np.ndarray:
    """Returns (..., W = WAVE_ORDERS^2), cosine waves at `points`, complex in pixels from the centre of the page.

    A sum of waves moves points smoothly, so that lines stay connected. Order 0 shifts, order 1 is nearly a stretch or a
    slant, and higher orders bend.
    """
    order = np.arange(WAVE_ORDERS)
    across, down = (np.cos(np.pi * order * (axis / PIXELS + 0.5)[..., None]) for axis in (points.real, points.imag))
    return (across[..., :, None] * down[..., None, :]).reshape(*points.shape, -1)


def sample_bends(rng: CounterRNG, pixels: list[float], *shape: int) -> np.ndarray:
    """Returns (B, *shape, W) complex, random amplitudes of the `cosine_waves`, with `pixels` the scale by order."""
    order = np.add.outer(np.arange(WAVE_ORDERS), np.arange(WAVE_ORDERS)).ravel()
    return np.array(pixels)[order] * _sample_complex_normal(rng, *shape, WAVE_ORDERS**2)


def bounding_boxes(points: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of the box around each owner's points.

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


def sample_normal(rng: CounterRNG, *shape: int) -> np.ndarray:
    """Returns (B, *shape) standard normal numbers (Box and Muller 1958)."""
    return np.sqrt(-2 * np.log1p(-rng.uniform(*shape))) * np.cos(2 * np.pi * rng.uniform(*shape))


def _sample_complex_normal(rng: CounterRNG, *shape: int) -> np.ndarray:
    """Returns (B, *shape) complex numbers with standard normal real and imaginary parts."""
    return sample_normal(rng, *shape) + 1j * sample_normal(rng, *shape)


def _velocity(chord: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Returns the velocity at the end of a leg that makes it an arc with this angle between chord and end."""
    return chord * np.exp(1j * angle) / np.maximum(np.cos(angle / 2) ** 2, 0.2)


def _shift_into_page(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Returns the shift that moves drawings beyond the edge back into the page."""
    last_pixel = PIXELS - 1 - MARGIN
    ranges = ((low.real, high.real), (low.imag, high.imag))
    x, y = (np.maximum(MARGIN - lowest, 0) - np.maximum(highest - last_pixel, 0) for lowest, highest in ranges)
    return x + 1j * y


def _dilate(ink: np.ndarray, step: int) -> np.ndarray:
    """Spreads ink to the pixels `step` before and after; MARGIN keeps it within the line."""
    dilated = ink.copy()
    dilated[step:] |= ink[:-step]
    dilated[:-step] |= ink[step:]
    return dilated
