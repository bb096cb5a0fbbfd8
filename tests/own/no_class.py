"""Pictures that show no character: noise, specks, lines, spirals and scribbles, dark on white."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128  # pixels of a picture
MARGIN = 12  # pixels between the longer side of a drawing and the edge of the picture


def noise(random: np.random.Generator) -> Image.Image:
    """Returns independent grey pixels, or blocks of them, over the whole picture."""
    block = int(random.choice([1, 2, 4, 8, 16]))
    blocks = random.integers(0, 256, (SIDE // block, SIDE // block), np.uint8)
    return Image.fromarray(np.kron(blocks, np.ones((block, block), np.uint8)))


def specks(random: np.random.Generator) -> Image.Image:
    """Returns an empty page with one to five specks of dust."""
    radius = random.uniform(1, 3, (random.integers(1, 6), 1))
    return _draw([np.full((2, 2), place) for place in random.uniform(0, 1, (len(radius), 2))], 2 * float(radius.max()))


def line(random: np.random.Generator) -> Image.Image:
    """Returns one straight or slightly bent line."""
    along = np.linspace(-1, 1, 24)
    bent = np.stack([along, random.normal(0, 0.15) * (1 - along**2)], 1)
    angle = random.uniform(0, np.pi)
    return _draw([bent @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])], 5)


def spiral(random: np.random.Generator) -> Image.Image:
    """Returns a spiral of two to five turns in either direction."""
    angle = np.linspace(0, 2 * np.pi * random.uniform(2, 5), 200)
    turned = angle * random.choice([-1, 1]) + random.uniform(0, 2 * np.pi)
    return _draw([angle[:, None] * np.stack([np.cos(turned), random.uniform(0.7, 1.3) * np.sin(turned)], 1)], 4)


def scribble(random: np.random.Generator) -> Image.Image:
    """Returns one to three long smooth strokes without a plan: sums of sines in both coordinates."""
    along = np.linspace(0, 1, 300)[:, None]
    strokes = []
    for _ in range(random.integers(1, 4)):
        speed, phase = random.uniform(0.5, 6, (2, 1, 4)), random.uniform(0, 2 * np.pi, (2, 1, 4))
        waves = np.sin(2 * np.pi * along * speed + phase)  # (2, points, 4)
        strokes.append(waves.mean(2).T)
    return _draw(strokes, 4)


def hatching(random: np.random.Generator) -> Image.Image:
    """Returns a zigzag, as for crossing something out."""
    turns = int(random.integers(5, 14))
    knots = np.stack([np.linspace(0, random.uniform(0.6, 1.6), turns), np.arange(turns) % 2], 1)
    return _draw([knots + random.normal(0, 0.06, knots.shape)], 4)


KINDS = {f.__name__: f for f in (noise, specks, line, spiral, scribble, hatching)}


def _draw(strokes: list[np.ndarray], pen: float) -> Image.Image:
    """Draws strokes, each (points, 2), scaled to the picture."""
    points = np.concatenate(strokes)
    middle, extent = (points.max(0) + points.min(0)) / 2, max(float(np.ptp(points, 0).max()), 1e-6)
    page = Image.new("L", (4 * SIDE, 4 * SIDE), 255)
    ink = ImageDraw.Draw(page)
    for stroke in strokes:
        placed = 4 * (SIDE / 2 + (SIDE - 2 * MARGIN) * (stroke - middle) / extent)
        ink.line([tuple(p) for p in placed], 0, round(4 * pen), joint="curve")
        for x, y in placed:
            ink.ellipse((x - 2 * pen, y - 2 * pen, x + 2 * pen, y + 2 * pen), 0)
    return page.resize((SIDE, SIDE), Image.Resampling.BOX)
