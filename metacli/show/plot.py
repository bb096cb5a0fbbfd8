"""A curve and points on it, plotted in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from metacli.show.heatmap import print_line

_HEIGHT, _WIDTH = 15, 64  # of the plot, in characters
_LINE = "·"


class Points(NamedTuple):
    """Points of one kind.

    Attributes:
        name: for the legend.
        mark: a character.
        style: of rich.
        x: (P,).
        y: (P,).
    """

    name: str
    mark: str
    style: str
    x: np.ndarray
    y: np.ndarray


def print_plot(console: Console, curve: np.ndarray, groups: Sequence[Points]) -> None:
    """Plots a curve (P, 2), sorted by x, and points. Where points coincide, the mark of the last group is shown."""
    width = max(10, min(_WIDTH, console.width - 9))
    x = np.concatenate([curve[:, 0], *(g.x for g in groups)])
    y = np.concatenate([curve[:, 1], *(g.y for g in groups)])
    low, high, left, right = y.min(), max(y.max(), y.min() + 1e-9), x.min(), max(x.max(), x.min() + 1e-9)
    cells: dict[tuple[int, int], tuple[str, str]] = {}

    def row(value: np.ndarray) -> np.ndarray:
        return np.rint((high - value) / (high - low) * (_HEIGHT - 1)).astype(int)

    heights = row(np.interp(np.linspace(left, right, width), curve[:, 0], curve[:, 1]))
    for column, height in enumerate(heights):
        previous_height = heights[max(column - 1, 0)]
        step = 1 if height >= previous_height else -1
        for r in range(previous_height + step, height + step, step) if height != previous_height else [height]:
            cells[int(r), column] = (_LINE, "dim")
    for g in groups:
        columns = np.rint((g.x - left) / (right - left) * (width - 1)).astype(int)
        for r, c in zip(row(g.y), columns, strict=True):
            cells[int(r), int(c)] = (g.mark, g.style)
    for r in range(_HEIGHT):
        named = {0: high, _HEIGHT // 2: (high + low) / 2, _HEIGHT - 1: low}
        text = Text(f"{named[r]:7.2f} " if r in named else " " * 8)
        for c in range(width):
            text.append(*cells.get((r, c), (" ", "")))
        print_line(console, text)
    print_line(console, Text(f"{'':8}{left:<{width - 8}.2f}{right:>8.2f}", style="dim"))
    print_line(
        console, Text("  ".join([f"{_LINE} the true function", *(f"{g.mark} {g.name}" for g in groups)])), wrap=True
    )
