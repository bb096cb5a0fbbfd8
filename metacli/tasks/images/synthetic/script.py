"""Invented scripts: what the characters of `strokes` are before a hand draws them.

A character is a few strokes. A stroke is a walk over the places of a coarse grid, as the letters of most scripts keep
to common lines: its legs are straight, arcs or parts of one smooth curve, or it is a ring or a dot. It begins at a
place that is already inked (joined) or at a free one (apart). An alphabet has a style, the odds of all this, so that
its characters look alike. A character is a pure function of the family's seed and its number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.tasks.images.synthetic.pen import LEGS, Strokes, bends, extent, normal, waves
from metacli.tasks.rng import CounterRNG

LETTERS = 25  # characters of an alphabet
STROKES = 6  # of a character at most
GRID = 4  # columns and lines at most
STRAIGHT, ARCS, SMOOTH = range(3)  # kinds of strokes

# fitted to Omniglot's characters by statistics and by eye
TOTAL_LEGS = [0.02, 0.10, 0.20, 0.25, 0.20, 0.12, 0.06, 0.03, 0.02]  # the odds of 1, 2, ... legs in a character
BENDS = [0.0, 2.0, 2.0, 1.5, 1.2, 1.0, 0.8]  # pixels that a character is off the grid, by order; see `pen.waves`


class Style(NamedTuple):
    """What the characters of an alphabet have in common, row by row; P = GRID^2 places. Odds need not sum to 1.

    Attributes:
        places: (A, P) complex128, from 0 to 1 both ways, slanted.
        free: (A, P) 1 where the alphabet uses the place, else 0.
        moves: (A, P, P) the odds of a leg from one place to another.
        page: (A,) complex128, the width and height in pixels that 1 stands for.
        legs: (A, LEGS) the odds that a stroke has 1, 2, ... legs.
        kinds: (A, 3) the odds of each kind of stroke.
        busy: (A,) a factor on the legs of a character.
        join: (A,) chance that a stroke begins where there is ink.
        revisit: (A,) a factor on the odds of a leg to where there is ink.
        wave: (A,) a factor on the chance that an arc turns the other way than the one before.
        close: (A,) chance that a stroke ends where it began.
        small: (A,) chance that a stroke is less than half as large.
        ring, dot: (A,) chance that a stroke is one.
        again: (A,) chance that a stroke is the one before once more, beside it.
    """

    places: np.ndarray
    free: np.ndarray
    moves: np.ndarray
    page: np.ndarray
    legs: np.ndarray
    kinds: np.ndarray
    busy: np.ndarray
    join: np.ndarray
    revisit: np.ndarray
    wave: np.ndarray
    close: np.ndarray
    small: np.ndarray
    ring: np.ndarray
    dot: np.ndarray
    again: np.ndarray


def characters(seed: int, numbers: np.ndarray) -> Strokes:
    """The strokes of some characters.

    Args:
        seed: of the family.
        numbers: (C,) int64, which characters of the family; alphabet a has LETTERS a, ..., LETTERS (a + 1) - 1.
    """
    alphabets, row = np.unique(numbers // LETTERS, return_inverse=True)
    style = Style(*(column[row] for column in _styles(seed, alphabets)))
    draw = CounterRNG(seed, "strokes character", numbers)

    kind = _pick(draw, style.kinds[:, None], STROKES)  # (C, STROKES)
    legs = 1 + _pick(draw, style.legs[:, None], STROKES)
    legs = np.where((kind == SMOOTH) & (legs == 1), 2, legs)
    enough = np.minimum(np.rint(style.busy * (1 + _pick(draw, np.array(TOTAL_LEGS)))), style.free.sum(1) - 1)
    count = 1 + (legs.cumsum(1)[:, :-1] < enough[:, None]).sum(1)
    knots = _walks(draw, style, legs, count)
    bulge, smooth = _curves(draw, style, kind, legs)
    _make_rings(draw, style, knots, legs, bulge, smooth)
    _repeat(draw, style, knots, legs, bulge, smooth)

    drawn = np.arange(STROKES) < count[:, None]
    owner, nth = np.nonzero(drawn)
    knots = _on_page(draw, style.page, knots[drawn], owner)
    knots += np.einsum("nkw,nw->nk", waves(knots), bends(draw, BENDS)[owner])
    return Strokes(owner, numbers[owner] * STROKES + nth, knots, legs[drawn], bulge[drawn], smooth[drawn])


def _styles(seed: int, alphabets: np.ndarray) -> Style:
    draw = CounterRNG(seed, "strokes alphabet", alphabets)
    columns = 2 + _pick(draw, np.array([0.2, 0.55, 0.25]))[:, None]
    lines = 2 + _pick(draw, np.array([0.15, 0.55, 0.3]))[:, None]
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(GRID), np.arange(GRID)))
    free = (x < columns) & (y < lines)
    across, down = np.abs(x[:, None] - x), np.abs(y[:, None] - y)
    distance = np.hypot(across, down)
    upright, level, diagonal, askew = _odds(draw, [0.5, 0.75, 0.25, 0.2], 0.5).T[..., None, None]
    moves = np.select([across == 0, down == 0, across == down], [upright, level, diagonal], askew)
    moves = moves * np.exp(-(0.6 + 0.9 * draw.uniform(1, 1)) * distance) * (distance > 0) * free[:, None]
    width, height = np.array([0, 0, 34, 51, 64])[columns[:, 0]], np.array([0, 0, 40, 57, 66])[lines[:, 0]]
    aspect = np.exp(0.15 * normal(draw))
    return Style(
        places=x / (columns - 1) + (0.1 * normal(draw, 1) + 1j) * y / (lines - 1),
        free=free.astype(float),
        moves=moves,
        page=width * aspect + 1j * height / aspect,
        legs=_odds(draw, [0.45, 0.28, 0.14, 0.08, 0.05], 0.6),
        kinds=_odds(draw, [0.36, 0.2, 0.44], 1.0),
        busy=np.exp(0.2 * normal(draw)),
        join=1 - 0.8 * draw.uniform() ** 2,
        revisit=np.exp(-1.2 - 2.5 * draw.uniform()),
        wave=draw.uniform(),
        close=0.12 * draw.uniform(),
        small=0.2 * draw.uniform(),
        ring=0.1 * draw.uniform() ** 2,
        dot=0.25 * draw.uniform() ** 2,
        again=0.25 * draw.uniform() ** 2,
    )


def _walks(draw: CounterRNG, style: Style, legs: np.ndarray, count: np.ndarray) -> np.ndarray:
    """(C, STROKES, LEGS + 1) complex: what each stroke goes through, on the grid; it stays where its legs end.

    Hardly a leg is gone twice, and hardly one leads straight back.
    """
    c = np.arange(len(count))
    moves, inked = style.moves.copy(), np.zeros(style.free.shape, bool)
    path = np.zeros((len(count), STROKES, LEGS + 1), np.int64)
    joins = draw.uniform(STROKES) < style.join[:, None]
    closes = draw.uniform(STROKES) < style.close[:, None]
    for s in range(STROKES):
        blank = style.free * np.where(inked, 0.05, 1)
        first = _pick(draw, np.where((joins[:, s] & inked.any(1))[:, None], inked, blank))
        inked[c, first] |= s < count
        before = here = path[:, s, 0] = first
        for leg in range(1, LEGS + 1):
            way, last = style.places - style.places[c, here, None], style.places[c, here] - style.places[c, before]
            back = (way * last.conj()[:, None]).real < -0.9 * np.abs(way) * np.abs(last)[:, None]
            odds = moves[c, here] * np.where(inked, style.revisit[:, None], 1) * np.where(back, 1e-3, 1)
            there = np.where(closes[:, s] & (leg == legs[:, s]) & (leg > 2), first, _pick(draw, odds))
            goes = (leg <= legs[:, s]) & (s < count)
            before, here = np.where(goes, here, before), np.where(goes, there, here)
            moves[c[goes], before[goes], here[goes]] *= 0.03
            moves[c[goes], here[goes], before[goes]] *= 0.03
            inked[c[goes], here[goes]] = True
            path[:, s, leg] = here
    knots = np.take_along_axis(style.places[:, None], path, 2)
    small = (draw.uniform(STROKES) < style.small[:, None]) & (np.arange(STROKES) > 0)
    return knots[..., :1] + np.where(small, 0.45, 1)[..., None] * (knots - knots[..., :1])


def _curves(draw: CounterRNG, style: Style, kind: np.ndarray, legs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`bulge` (C, STROKES, LEGS) and `smooth` (C, STROKES, LEGS + 1), see `Strokes`."""
    leg, knot, kind = np.arange(LEGS), np.arange(LEGS + 1), kind[..., None]
    turn = np.where(draw.uniform(STROKES, LEGS) < 0.35 * style.wave[:, None, None], -1, 1).cumprod(2)
    turn *= np.where(draw.uniform(STROKES, 1) < 0.5, -1, 1)
    arc = turn * np.pi * np.array([0.25, 0.35, 0.5])[draw.integers(3, STROKES, LEGS)]
    bulge = 0.05 * normal(draw, STROKES, LEGS)
    bulge += np.where((kind == ARCS) & (draw.uniform(STROKES, LEGS) < 0.75), arc, 0)
    hook = (kind == SMOOTH) & ((leg == 0) | (leg == legs[..., None] - 1))
    bulge += np.where(hook, 0.35 * normal(draw, STROKES, LEGS), 0)
    return bulge, (kind == SMOOTH) & (knot > 0) & (knot < legs[..., None])


def _make_rings(
    draw: CounterRNG, style: Style, knots: np.ndarray, legs: np.ndarray, bulge: np.ndarray, smooth: np.ndarray
) -> None:
    """Some strokes become two half circles around or beside where they begin, in place."""
    dot = draw.uniform(STROKES) < style.dot[:, None]
    ring = dot | (draw.uniform(STROKES) < style.ring[:, None])
    radius = np.where(draw.uniform(STROKES) < 0.5, 0.1, 0.25) * (1 + draw.uniform(STROKES))
    spoke = np.where(dot, 0.2 * radius, radius) * np.exp(2j * np.pi * draw.uniform(STROKES))
    centre = knots[..., 0] + np.where(draw.uniform(STROKES) < 0.5, spoke, 0)
    knots[ring] = (centre[..., None] + spoke[..., None] * np.where(np.arange(LEGS + 1) == 1, -1, 1))[ring]
    bulge[ring] = (np.where(draw.uniform(STROKES, 1) < 0.5, 0.5, -0.5) * np.pi)[ring]
    legs[ring], smooth[ring] = 2, False


def _repeat(
    draw: CounterRNG, style: Style, knots: np.ndarray, legs: np.ndarray, bulge: np.ndarray, smooth: np.ndarray
) -> None:
    """Some strokes become the stroke before, moved across its chord, in place."""
    again = draw.uniform(STROKES) < style.again[:, None]
    jump = (0.25 + 0.25 * draw.uniform(STROKES)) * np.where(draw.uniform(STROKES) < 0.5, -1, 1)
    for s in range(1, STROKES):
        chord = np.take_along_axis(knots[:, s - 1], legs[:, s - 1, None], 1)[:, 0] - knots[:, s - 1, 0]
        across = jump[:, s] * np.where(np.abs(chord.real) > np.abs(chord.imag), 1j, 1)
        copy = again[:, s]
        knots[copy, s] = (knots[:, s - 1] + across[:, None])[copy]
        for part in (legs, bulge, smooth):
            part[copy, s] = part[copy, s - 1]


def _on_page(draw: CounterRNG, page: np.ndarray, knots: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(N, K) from the grid to pixels from the middle: characters differ less in size than in what is in them."""
    width, height = (axis * np.exp(0.12 * normal(draw)) for axis in (page.real, page.imag))
    knots = knots.real * width[owner, None] + 1j * knots.imag * height[owner, None]
    low, high = extent(knots, owner)
    size = np.maximum(np.maximum((high - low).real, (high - low).imag), 8)
    scale = np.minimum((57 / size) ** 0.7 * np.exp(0.12 * normal(draw)), 85 / size)
    return (knots - (low + high)[owner, None] / 2) * scale[owner, None]


def _pick(draw: CounterRNG, odds: np.ndarray, *shape: int) -> np.ndarray:
    """(B, *shape) int64: a choice by `odds`, (..., K) that broadcasts to (B, *shape, K), not all 0."""
    steps = odds.cumsum(-1)
    return (draw.uniform(*shape)[..., None] * steps[..., -1:] >= steps).sum(-1).clip(max=odds.shape[-1] - 1)


def _odds(draw: CounterRNG, middle: list[float], spread: float) -> np.ndarray:
    """(A, K): odds that differ from alphabet to alphabet around the middle ones."""
    return np.array(middle) * np.exp(spread * normal(draw, len(middle)))
