"""Generates the ideal characters of `strokes`, in invented scripts.

A character consists of a few strokes. A stroke is a walk over the points of a coarse grid, because the letters of most
scripts follow common lines. Its legs are straight, arcs or parts of one smooth curve, or the stroke is a ring or a dot.
It begins at an inked point (joined) or at a free one (separate). An alphabet has a style, which sets the odds of
these choices, so that its characters look alike. A character is a pure function of the family's seed and its number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.tasks.images.synthetic.pen import (
    MAX_LEGS,
    Strokes,
    bounding_boxes,
    cosine_waves,
    sample_bends,
    sample_normal,
)
from metacli.tasks.rng import CounterRNG

ALPHABET_SIZE = 25  # characters of an alphabet
MAX_STROKES = 6  # strokes of a character
GRID = 4  # maximum number of columns and of lines
STRAIGHT, ARCS, SMOOTH = range(3)  # kinds of strokes

# fitted to Omniglot's characters by statistics and by eye
TOTAL_LEGS = [0.02, 0.10, 0.20, 0.25, 0.20, 0.12, 0.06, 0.03, 0.02]  # the odds of 1, 2, ... legs in a character
BENDS = [0.0, 2.0, 2.0, 1.5, 1.2, 1.0, 0.8]  # distortion of the grid in pixels, by order; see `pen.cosine_waves`


class Style(NamedTuple):
    """The style of A alphabets; P = GRID^2 grid points. Odds need not sum to 1.

    Attributes:
        positions: (A, P) complex128, of the grid points, from 0 to 1 in both directions, slanted.
        is_used: (A, P) 1 if the alphabet uses the point, else 0.
        moves: (A, P, P) the odds of a leg from one point to another.
        page: (A,) complex128, the width and height of the grid in pixels.
        legs: (A, MAX_LEGS) the odds that a stroke has 1, 2, ... legs.
        kinds: (A, 3) the odds of each kind of stroke.
        leg_factor: (A,) factor on the number of legs of a character.
        join_probability: (A,) probability that a stroke begins at an inked point.
        revisit_factor: (A,) factor on the odds of a leg to an inked point.
        flip_factor: (A,) factor on the probability that an arc bends the other way than the previous one.
        close_probability: (A,) probability that a stroke ends at its start.
        small_probability: (A,) probability that a stroke has less than half the size.
        ring_probability: (A,) probability that a stroke is a ring.
        dot_probability: (A,) probability that a stroke is a dot.
        repeat_probability: (A,) probability that a stroke is a shifted copy of the previous one.
    """

    positions: np.ndarray
    is_used: np.ndarray
    moves: np.ndarray
    page: np.ndarray
    legs: np.ndarray
    kinds: np.ndarray
    leg_factor: np.ndarray
    join_probability: np.ndarray
    revisit_factor: np.ndarray
    flip_factor: np.ndarray
    close_probability: np.ndarray
    small_probability: np.ndarray
    ring_probability: np.ndarray
    dot_probability: np.ndarray
    repeat_probability: np.ndarray


def generate_characters(seed: int, numbers: np.ndarray) -> Strokes:
    """Returns the strokes of characters.

    Args:
        seed: seed of the family.
        numbers: (C,) int64, the characters; alphabet a has numbers ALPHABET_SIZE a to ALPHABET_SIZE (a + 1) - 1.
    """
    alphabets, row = np.unique(numbers // ALPHABET_SIZE, return_inverse=True)
    style = Style(*(column[row] for column in _sample_styles(seed, alphabets)))
    rng = CounterRNG(seed, "strokes character", numbers)

    kind = _choose(rng, style.kinds[:, None], MAX_STROKES)  # (C, STROKES)
    legs = 1 + _choose(rng, style.legs[:, None], MAX_STROKES)
    legs = np.where((kind == SMOOTH) & (legs == 1), 2, legs)
    target_legs = np.rint(style.leg_factor * (1 + _choose(rng, np.array(TOTAL_LEGS))))
    target_legs = np.minimum(target_legs, style.is_used.sum(1) - 1)
    count = 1 + (legs.cumsum(1)[:, :-1] < target_legs[:, None]).sum(1)
    knots = _sample_walks(rng, style, legs, count)
    bulge, smooth = _sample_curves(rng, style, kind, legs)
    _insert_rings(rng, style, knots, legs, bulge, smooth)
    _repeat_strokes(rng, style, knots, legs, bulge, smooth)

    is_drawn = np.arange(MAX_STROKES) < count[:, None]
    owner, stroke_index = np.nonzero(is_drawn)
    knots = _scale_to_page(rng, style.page, knots[is_drawn], owner)
    knots += np.einsum("nkw,nw->nk", cosine_waves(knots), sample_bends(rng, BENDS)[owner])
    stroke_numbers = numbers[owner] * MAX_STROKES + stroke_index
    return Strokes(owner, stroke_numbers, knots, legs[is_drawn], bulge[is_drawn], smooth[is_drawn])


def _sample_styles(seed: int, alphabets: np.ndarray) -> Style:
    rng = CounterRNG(seed, "strokes alphabet", alphabets)
    columns = 2 + _choose(rng, np.array([0.2, 0.55, 0.25]))[:, None]
    lines = 2 + _choose(rng, np.array([0.15, 0.55, 0.3]))[:, None]
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(GRID), np.arange(GRID)))
    is_used = (x < columns) & (y < lines)
    across, down = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    distance = np.hypot(across, down)
    vertical, horizontal, diagonal, other = _vary_odds(rng, [0.5, 0.75, 0.25, 0.2], 0.5).T[..., None, None]
    moves = np.select([across == 0, down == 0, across == down], [vertical, horizontal, diagonal], other)
    moves = moves * np.exp(-(0.6 + 0.9 * rng.uniform(1, 1)) * distance) * (distance > 0) * is_used[:, None]
    width, height = np.array([0, 0, 34, 51, 64])[columns[:, 0]], np.array([0, 0, 40, 57, 66])[lines[:, 0]]
    aspect = np.exp(0.15 * sample_normal(rng))
    return Style(
        positions=x / (columns - 1) + (0.1 * sample_normal(rng, 1) + 1j) * y / (lines - 1),
        is_used=is_used.astype(float),
        moves=moves,
        page=width * aspect + 1j * height / aspect,
        legs=_vary_odds(rng, [0.45, 0.28, 0.14, 0.08, 0.05], 0.6),
        kinds=_vary_odds(rng, [0.36, 0.2, 0.44], 1.0),
        leg_factor=np.exp(0.2 * sample_normal(rng)),
        join_probability=1 - 0.8 * rng.uniform() ** 2,
        revisit_factor=np.exp(-1.2 - 2.5 * rng.uniform()),
        flip_factor=rng.uniform(),
        close_probability=0.12 * rng.uniform(),
        small_probability=0.2 * rng.uniform(),
        ring_probability=0.1 * rng.uniform() ** 2,
        dot_probability=0.25 * rng.uniform() ** 2,
        repeat_probability=0.25 * rng.uniform() ** 2,
    )


def _sample_walks(rng: CounterRNG, style: Style, legs: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Returns (C, MAX_STROKES, MAX_LEGS + 1) complex, the grid points of each stroke; the last one is repeated.

    Legs that repeat another leg or lead straight back are unlikely.
    """
    character = np.arange(len(count))
    moves, is_inked = style.moves.copy(), np.zeros(style.is_used.shape, bool)
    point_path = np.zeros((len(count), MAX_STROKES, MAX_LEGS + 1), np.int64)
    joins_ink = rng.uniform(MAX_STROKES) < style.join_probability[:, None]
    is_closed = rng.uniform(MAX_STROKES) < style.close_probability[:, None]
    for s in range(MAX_STROKES):
        free_odds = style.is_used * np.where(is_inked, 0.05, 1)
        first = _choose(rng, np.where((joins_ink[:, s] & is_inked.any(1))[:, None], is_inked, free_odds))
        is_inked[character, first] |= s < count
        previous = current = point_path[:, s, 0] = first
        for leg in range(1, MAX_LEGS + 1):
            step = style.positions - style.positions[character, current, None]
            last_step = style.positions[character, current] - style.positions[character, previous]
            is_backward = (step * last_step.conj()[:, None]).real < -0.9 * np.abs(step) * np.abs(last_step)[:, None]
            odds = moves[character, current] * np.where(is_inked, style.revisit_factor[:, None], 1)
            odds = odds * np.where(is_backward, 1e-3, 1)
            next_point = np.where(is_closed[:, s] & (leg == legs[:, s]) & (leg > 2), first, _choose(rng, odds))
            continues = (leg <= legs[:, s]) & (s < count)
            previous, current = np.where(continues, current, previous), np.where(continues, next_point, current)
            moves[character[continues], previous[continues], current[continues]] *= 0.03
            moves[character[continues], current[continues], previous[continues]] *= 0.03
            is_inked[character[continues], current[continues]] = True
            point_path[:, s, leg] = current
    knots = np.take_along_axis(style.positions[:, None], point_path, 2)
    is_small = (rng.uniform(MAX_STROKES) < style.small_probability[:, None]) & (np.arange(MAX_STROKES) > 0)
    return knots[..., :1] + np.where(is_small, 0.45, 1)[..., None] * (knots - knots[..., :1])


def _sample_curves(rng: CounterRNG, style: Style, kind: np.ndarray, legs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns `bulge` (C, MAX_STROKES, MAX_LEGS) and `smooth` (C, MAX_STROKES, MAX_LEGS + 1), see `Strokes`."""
    leg, knot, kind = np.arange(MAX_LEGS), np.arange(MAX_LEGS + 1), kind[..., None]
    sign = np.where(rng.uniform(MAX_STROKES, MAX_LEGS) < 0.35 * style.flip_factor[:, None, None], -1, 1).cumprod(2)
    sign *= np.where(rng.uniform(MAX_STROKES, 1) < 0.5, -1, 1)
    arc = sign * np.pi * np.array([0.25, 0.35, 0.5])[rng.integers(3, MAX_STROKES, MAX_LEGS)]
    bulge = 0.05 * sample_normal(rng, MAX_STROKES, MAX_LEGS)
    bulge += np.where((kind == ARCS) & (rng.uniform(MAX_STROKES, MAX_LEGS) < 0.75), arc, 0)
    is_hook = (kind == SMOOTH) & ((leg == 0) | (leg == legs[..., None] - 1))
    bulge += np.where(is_hook, 0.35 * sample_normal(rng, MAX_STROKES, MAX_LEGS), 0)
    return bulge, (kind == SMOOTH) & (knot > 0) & (knot < legs[..., None])


def _insert_rings(
    rng: CounterRNG, style: Style, knots: np.ndarray, legs: np.ndarray, bulge: np.ndarray, smooth: np.ndarray
) -> None:
    """Replaces some strokes by two half circles around or beside their start, in place."""
    is_dot = rng.uniform(MAX_STROKES) < style.dot_probability[:, None]
    is_ring = is_dot | (rng.uniform(MAX_STROKES) < style.ring_probability[:, None])
    radius = np.where(rng.uniform(MAX_STROKES) < 0.5, 0.1, 0.25) * (1 + rng.uniform(MAX_STROKES))
    radius_vector = np.where(is_dot, 0.2 * radius, radius) * np.exp(2j * np.pi * rng.uniform(MAX_STROKES))
    centre = knots[..., 0] + np.where(rng.uniform(MAX_STROKES) < 0.5, radius_vector, 0)
    sides = np.where(np.arange(MAX_LEGS + 1) == 1, -1, 1)
    knots[is_ring] = (centre[..., None] + radius_vector[..., None] * sides)[is_ring]
    bulge[is_ring] = (np.where(rng.uniform(MAX_STROKES, 1) < 0.5, 0.5, -0.5) * np.pi)[is_ring]
    legs[is_ring], smooth[is_ring] = 2, False


def _repeat_strokes(
    rng: CounterRNG, style: Style, knots: np.ndarray, legs: np.ndarray, bulge: np.ndarray, smooth: np.ndarray
) -> None:
    """Replaces some strokes by the previous stroke, shifted across its chord, in place."""
    is_repeated = rng.uniform(MAX_STROKES) < style.repeat_probability[:, None]
    distance = (0.25 + 0.25 * rng.uniform(MAX_STROKES)) * np.where(rng.uniform(MAX_STROKES) < 0.5, -1, 1)
    for s in range(1, MAX_STROKES):
        chord = np.take_along_axis(knots[:, s - 1], legs[:, s - 1, None], 1)[:, 0] - knots[:, s - 1, 0]
        offset = distance[:, s] * np.where(np.abs(chord.real) > np.abs(chord.imag), 1j, 1)
        is_copied = is_repeated[:, s]
        knots[is_copied, s] = (knots[:, s - 1] + offset[:, None])[is_copied]
        for array in (legs, bulge, smooth):
            array[is_copied, s] = array[is_copied, s - 1]


def _scale_to_page(rng: CounterRNG, page: np.ndarray, knots: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Maps knots (N, K) from the grid to pixels from the centre, and reduces differences in size."""
    width, height = (axis * np.exp(0.12 * sample_normal(rng)) for axis in (page.real, page.imag))
    knots = knots.real * width[owner, None] + 1j * knots.imag * height[owner, None]
    low, high = bounding_boxes(knots, owner)
    size = np.maximum(np.maximum((high - low).real, (high - low).imag), 8)
    scale = np.minimum((57 / size) ** 0.7 * np.exp(0.12 * sample_normal(rng)), 85 / size)
    return (knots - (low + high)[owner, None] / 2) * scale[owner, None]


def _choose(rng: CounterRNG, odds: np.ndarray, *shape: int) -> np.ndarray:
    """Returns (B, *shape) int64, choices by `odds` (..., K), which broadcasts to (B, *shape, K), not all 0."""
    cumulative = odds.cumsum(-1)
    return (rng.uniform(*shape)[..., None] * cumulative[..., -1:] >= cumulative).sum(-1).clip(max=odds.shape[-1] - 1)


def _vary_odds(rng: CounterRNG, mean_odds: list[float], spread: float) -> np.ndarray:
    """Returns (A, K), odds that vary between alphabets around the mean odds."""
    return np.array(mean_odds) * np.exp(spread * sample_normal(rng, len(mean_odds)))
