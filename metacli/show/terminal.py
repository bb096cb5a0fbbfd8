"""Everything that is drawn in the terminal: glyphs first, colour second, whole at 80 columns and when piped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from metacli.show.glyphs import SHADES, shades, thumbnail
from metacli.tasks.sample import Sample

_COLUMNS = 14  # characters of an image in the terminal
_ROWS = {"D_train": 4, "D_test": 2, "stream": 4}  # of images, at most
_HEAT = dict(zip(SHADES, ("", "blue", "cyan", "green", "bold"), strict=True))  # full: the terminal's own colour


def draw_samples(console: Console, samples: list[Sample]) -> None:
    """D_train and D_test of each task: images, or bits with time across and channels down."""
    for sample in samples:
        _line(console, Text(sample.title, style="bold"), wrap=True)
        if sample.legend:
            _line(console, Text("  ".join(f"{label}={name}" for label, name in sample.legend), style="dim"), wrap=True)
        _draw_images(console, sample) if sample.is_image else _draw_bits(console, sample)
        _line(console, Text(""))


def heat_map(
    console: Console,
    values: np.ndarray,
    names: Sequence[str],
    footers: Sequence[tuple[str, str]] = (),
    floor: str = " ",
) -> None:
    """Shade glyphs, one for each value: columns are time, rows are named at the left; long ones continue below.

    Args:
        values: (rows, columns) in [0, 1]; NaN where there is nothing to show.
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
                shown = " " if np.isnan(number) else floor if glyph == " " else glyph
                text.append(shown.ljust(wide) if shown == floor else shown * wide, _HEAT[glyph])
            _line(console, text)
        for name, marks in footers:
            _line(console, Text(f"{name:>{margin - 1}} " + "".join(m.ljust(wide) for m in marks[left : left + room])))
        ticks = "".join(f"{left + t:<10}" for t in range(0, part.shape[1], 10 // wide))
        _line(console, Text(f"{'step':>{margin - 1}} {ticks.rstrip()}", style="dim"))


def _draw_images(console: Console, s: Sample) -> None:
    if s.mode == "stream":
        captions = [f"{a or '-'}→ {b}?" for a, b in zip(s.labels_previous, s.labels_test, strict=True)]
        note = "in order; each comes with the label of the one before (left of the arrow), then its own is asked for"
        _strip(console, "stream", note, s.x_test, captions, range(len(s.x_test)), "cyan")
        return
    train, test = by_label(s.labels_train), by_label(s.labels_test)
    _strip(console, "D_train", "read with their labels", s.x_train, s.labels_train, train, "green")
    _strip(console, "D_test", "asked; right answers shown", s.x_test, [f"{w}?" for w in s.labels_test], test, "cyan")


def by_label(labels: list[str]) -> list[int]:
    """The items' numbers, first one of each label, then the second of each, and so on."""
    seen: dict[str, int] = {}
    rank = []
    for label in labels:
        seen[label] = seen.get(label, -1) + 1
        rank.append(seen[label])
    key: Callable[[int], tuple[int, int, str]] = lambda i: (rank[i], len(labels[i]), labels[i])  # noqa: E731
    return sorted(range(len(labels)), key=key)


def _strip(
    console: Console, name: str, note: str, x: np.ndarray, captions: list[str], order: Sequence[int], style: str
) -> None:
    across = max(1, (console.width + 1) // (_COLUMNS + 1))
    shown = list(order)[: across * _ROWS[name]]
    rest = f"; {len(shown)} drawn here, --png shows more" if len(shown) < len(x) else ""
    _line(console, Text.assemble((name, f"bold {style}"), f" {len(x)} items, {note}{rest}"), wrap=True)
    for first in range(0, len(shown), across):
        row = shown[first : first + across]
        _line(console, Text(" ".join(f"{captions[i]:<{_COLUMNS}}"[:_COLUMNS] for i in row), style=f"bold {style}"))
        for lines in zip(*(thumbnail(x[i], _COLUMNS) for i in row), strict=True):
            _line(console, Text(" ".join(lines)))


def _draw_bits(console: Console, s: Sample) -> None:
    rows = bit_rows(s)
    parts = f"D_train {len(s.x_train)} steps, then D_test {len(s.x_test)}: time across, channels down; below, ? = asked"
    _line(console, Text(parts), wrap=True)
    for note in rows.notes:
        _line(console, Text(note), wrap=True)
    ask = "." * rows.start + "".join("?" if asked else "-" for asked in s.scored)
    heat_map(console, rows.values, rows.names, [("ask", ask)], floor="·")


class BitRows(NamedTuple):
    """Inputs above answers on one time axis.

    Attributes:
        values: (channels + O, S + Q) in [0, 1], NaN where no answer is asked for.
        names: of the rows.
        start: S, the step at which D_test starts.
        notes: which channels are scaled into [0, 1], and from what.
    """

    values: np.ndarray
    names: list[str]
    start: int
    notes: list[str]


def bit_rows(s: Sample) -> BitRows:
    """The rows of a task over vectors; a channel that leaves [0, 1] is scaled into it, and a note says so."""
    x, start = np.concatenate([s.x_train, s.x_test]).T.astype(np.float64), len(s.x_train)
    notes = []
    for i, channel in enumerate(x):
        high = max(1.0, abs(channel).max())
        low = -high if channel.min() < 0 else 0.0
        if low or high > 1:
            x[i] = (channel - low) / (high - low)
            notes.append(f"in {i} holds real numbers, drawn from {low:.2f} (blank) to {high:.2f} (full)")
    y = np.full((s.y_test.shape[1], x.shape[1]), np.nan)
    y[:, start:][:, s.scored] = s.y_test[s.scored].T
    names = [f"in {i}" for i in range(len(x))] + [f"out {i}" for i in range(len(y))]
    return BitRows(np.concatenate([x, y]), names, start, notes)


def _line(console: Console, text: Text, wrap: bool = False) -> None:
    text.rstrip()
    console.print(text, highlight=False, soft_wrap=not wrap)
