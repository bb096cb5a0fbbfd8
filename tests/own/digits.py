"""The ten digits by an unsteady hand, large or small, off centre, thick or thin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from tests.own.alphabets import Run


def arc(x: float, y: float, across: float, down: float, start: float, stop: float) -> np.ndarray:
    """Points (24, 2) of an arc about (x, y), angles in quarters of a turn, clockwise from the right."""
    angle = np.linspace(start, stop, 24) * np.pi / 2
    return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)


def line(*points: tuple[float, float]) -> np.ndarray:
    """Points of straight lines from point to point, close enough to be bent."""
    legs = [np.linspace(a, b, 12) for a, b in pairwise(points)]
    return np.concatenate(legs)


# in a box of 1 x 1, y downwards
DIGITS = {
    "0": [arc(0.5, 0.5, 0.3, 0.45, -1, 3)],
    "1": [line((0.3, 0.25), (0.55, 0.05), (0.55, 0.95))],
    "2": [np.concatenate([arc(0.5, 0.3, 0.27, 0.25, -2.1, 0.5), line((0.68, 0.48), (0.22, 0.95), (0.8, 0.95))])],
    "3": [np.concatenate([arc(0.47, 0.27, 0.25, 0.22, -1.8, 1.1), arc(0.45, 0.72, 0.3, 0.23, -0.95, 1.8)])],
    "4": [line((0.6, 0.05), (0.15, 0.65), (0.85, 0.65)), line((0.62, 0.4), (0.62, 0.95))],
    "5": [line((0.75, 0.06), (0.3, 0.06), (0.26, 0.45)), arc(0.45, 0.68, 0.3, 0.26, -1.6, 1.8)],
    "6": [np.concatenate([arc(0.75, 0.62, 0.5, 0.58, -1.1, -2), arc(0.5, 0.7, 0.25, 0.24, -2, 2)])],
    "7": [line((0.2, 0.07), (0.8, 0.07), (0.4, 0.95))],
    "8": [np.concatenate([arc(0.5, 0.28, 0.22, 0.21, 1, -3), arc(0.5, 0.73, 0.27, 0.23, -1, 3)])],
    "9": [np.concatenate([arc(0.5, 0.3, 0.25, 0.24, 0, -4), line((0.75, 0.3), (0.68, 0.95))])],
}
SIZE = 256  # pixels of a sheet
PLAIN = (0.62, 10)  # share of the sheet that a digit takes, width of the pen in pixels
WAYS = {
    "as the examples": (PLAIN, 0.0),
    "small": ((0.25, 10), 0.0),
    "large": ((0.92, 10), 0.0),
    "off centre": ((0.45, 10), 0.25),
    "thin": ((0.62, 3), 0.0),
    "thick": ((0.62, 26), 0.0),
    "small, thick, off centre": ((0.3, 16), 0.3),
}


def runs(count: int, way: str, seed: int = 0) -> list[Run]:
    """Ten-way tasks: one plain drawing of each digit by one hand, one in some way by another."""
    (share, pen), off = WAYS[way]
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        support = [drawn(random, strokes, *PLAIN, 0.0) for strokes in DIGITS.values()]
        queries = [drawn(random, strokes, share, pen, off) for strokes in DIGITS.values()]
        found.append(Run(support, list(DIGITS), queries, list(DIGITS)))
    return found


def drawn(random: np.random.Generator, strokes: list[np.ndarray], share: float, pen: int, off: float) -> Image.Image:
    """A digit, dark on white: leant, stretched and bent at random, up to `off` of the sheet away from its middle."""
    angle, lean = random.normal(0, 0.09), random.normal(0, 0.15)
    across, down = np.exp(random.normal(0, 0.1, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    frame = turn @ np.array([[across, lean], [0, down]])
    waves, phase = random.normal(0, 0.025, (2, 2, 2)), random.uniform(0, 2 * np.pi, (2, 2, 2))
    place = SIZE * (0.5 + off * random.uniform(-1, 1, 2))
    page = Image.new("L", (4 * SIZE, 4 * SIZE), 255)
    ink = ImageDraw.Draw(page)
    for stroke in strokes:
        centred = stroke - 0.5
        bend = np.zeros_like(centred)
        for k, i in np.ndindex(2, 2):
            bend += waves[k, i] * np.sin(4 * (k + 1) * centred[:, i : i + 1] + phase[k, i])
        points = 4 * (place + SIZE * share * ((centred + bend) @ frame.T))
        ink.line([tuple(p) for p in points], 0, 4 * pen, joint="curve")
        for x, y in points:
            ink.ellipse((x - 2 * pen, y - 2 * pen, x + 2 * pen, y + 2 * pen), 0)
    return page.resize((SIZE, SIZE), Image.Resampling.BOX)
