"""A heat map in the terminal: shade glyphs, with colour in addition, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from metacli.show.glyphs import SHADES, shades

_HEAT = dict(zip(SHADES, ("", "blue", "cyan", "green", "bold"), strict=True))  # full: the terminal's own colour


def print_heat_map(
    console: Console,
    values: np.ndarray,
    names: Sequence[str],
    footers: Sequence[tuple[str, str]] = (),
    floor: str = " ",
) -> None:
    """Prints a shade glyph for each value: columns are steps, rows have names. Long rows continue below.

    Args:
        values: (rows, columns) in [0, 1]; NaN for an empty cell.
        names: (rows,).
        footers: (name, one character for each column) lines below.
        floor: the glyph of values below 0.1.

    Raises:
        ValueError: a value is not in [0, 1].
    """
    margin = max([len(n) for n in [*names, "step", *(name for name, _ in footers)]]) + 1
    room = max(10, (console.width - margin - 1) // 10 * 10)
    wide = 2 if 2 * values.shape[1] <= room else 1
    for left in range(0, values.shape[1], room):
        part = values[:, left : left + room]
        glyphs = shades(np.nan_to_num(part))
        for name, row, numbers in zip(names, glyphs, part, strict=True):
            text = Text(f"{name:>{margin - 1}} ")
            for glyph, number in zip(row, numbers, strict=True):
                symbol = " " if np.isnan(number) else floor if glyph == " " else glyph
                text.append(symbol.ljust(wide) if symbol == floor else symbol * wide, _HEAT[glyph])
            print_line(console, text)
        for name, marks in footers:
            print_line(
                console, Text(f"{name:>{margin - 1}} " + "".join(m.ljust(wide) for m in marks[left : left + room]))
            )
        print_line(console, Text(f"{'step':>{margin - 1}} {_tick_line(left, part.shape[1], wide)}", style="dim"))


def _tick_line(left: int, steps: int, wide: int) -> str:
    """Returns the numbers of the first and every fifth or tenth step below their columns; the first step is 1."""
    every, line = 10 // wide, ""
    for t in range(steps):
        number = left + t + 1
        if t == 0 or number % every == 0:
            line = line.ljust(wide * t) + str(number)
    return line


def print_line(console: Console, text: Text, wrap: bool = False) -> None:
    """Prints a line without trailing space. A long line is wrapped only if `wrap` is true."""
    text.rstrip()
    console.print(text, highlight=False, soft_wrap=not wrap)
