"""Arrays as characters, readable in any terminal and file without color."""

from __future__ import annotations

import numpy as np
from PIL import Image

SHADES = " ░▒▓█"
_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"  # bit 0 upper left, 1 upper right, 2 lower left, 3 lower right
_INK = 0.4  # a quarter of a character is filled above this share of the brightest cell


def shades(values: np.ndarray) -> list[str]:
    """Returns values (rows, columns) in [0, 1] as shade glyphs, a string per row: blank below 0.1, full from 0.9.

    Raises:
        ValueError: a value is not in [0, 1].
    """
    if not ((values >= -1e-4) & (values <= 1 + 1e-4)).all():
        raise ValueError("shades show values from 0 to 1")
    edges = [0.1, 0.35, 0.65, 0.9]
    return ["".join(SHADES[level] for level in row) for row in np.digitize(values, edges)]


def thumbnail(image: np.ndarray, columns: int) -> list[str]:
    """Returns an image (C, H, W) in [0, 1] as rows of `columns` characters.

    A square image has half as many rows as columns, as a character is twice as tall as wide. Images that are nearly
    black and white use the quarters of each character, other images use shades.
    """
    gray = image.mean(0)
    rows = max(1, round(columns / 2 * gray.shape[0] / gray.shape[1]))
    middling = ((gray > 0.2) & (gray < 0.8)).mean()
    if middling > 0.3:
        return shades(_resized(gray, columns, rows).clip(0, 1))
    cells = _resized(gray, 2 * columns, 2 * rows)
    ink = cells > _INK * max(cells.max(), 1e-6)
    quarters = ink.reshape(rows, 2, columns, 2).swapaxes(1, 2).reshape(rows, columns, 4) @ (1, 2, 4, 8)
    return ["".join(_QUADRANTS[q] for q in row) for row in quarters]


def _resized(gray: np.ndarray, width: int, height: int) -> np.ndarray:
    picture = Image.fromarray(gray.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture)
