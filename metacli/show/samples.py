"""Tasks in the terminal: D_train and D_test as images, as numbers over time, or as a curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from metacli.show.channels import channel_rows
from metacli.show.console import printable
from metacli.show.glyphs import thumbnail
from metacli.show.heatmap import print_heat_map, print_line
from metacli.show.plot import Points, print_plot
from metacli.tasks.base import View
from metacli.tasks.sample import Sample

_COLUMNS = 14  # characters of an image in the terminal
_ROWS = {"D_train": 4, "D_test": 2, "stream": 4}  # of images, at most


def print_samples(console: Console, samples: list[Sample]) -> None:
    """Prints D_train and D_test of each task: images, numbers with time across and channels down, or a curve."""
    views: dict[View, Callable[[Console, Sample], None]]
    views = {"images": _print_images, "channels": _print_channels, "curve": _print_curve}
    for sample in samples:
        print_line(console, Text(printable(console, sample.title), style="bold"), wrap=True)
        if sample.legend:
            names = "  ".join(f"{label}={printable(console, c)}" for label, c in sample.legend)
            print_line(console, Text(names, style="dim"), wrap=True)
        views[sample.view](console, sample)
        print_line(console, Text(""))


def _print_images(console: Console, s: Sample) -> None:
    if s.mode == "stream":
        pairs = zip(s.labels_previous, s.labels_test, strict=True)
        captions = [printable(console, f"{late or '-'}→ {answer}?") for late, answer in pairs]
        note = "queries in order; left of the arrow, the label that arrives with a query: that of the previous query"
        _print_image_strip(console, "stream", note, s.x_test, captions, range(len(s.x_test)), "cyan")
        return
    train, test = order_by_label(s.labels_train), order_by_label(s.labels_test)
    _print_image_strip(console, "D_train", "support examples with labels", s.x_train, s.labels_train, train, "green")
    captions = [f"{label}?" for label in s.labels_test]
    _print_image_strip(console, "D_test", "queries with right answers", s.x_test, captions, test, "cyan")


def order_by_label(labels: list[str]) -> list[int]:
    """Returns the indices of the labels: first one of each label, then the second of each, and so on."""
    last_rank: dict[str, int] = {}
    rank = []
    for label in labels:
        last_rank[label] = last_rank.get(label, -1) + 1
        rank.append(last_rank[label])
    key: Callable[[int], tuple[int, int, str]] = lambda i: (rank[i], len(labels[i]), labels[i])  # noqa: E731
    return sorted(range(len(labels)), key=key)


def _print_image_strip(
    console: Console, part: str, note: str, x: np.ndarray, captions: list[str], order: Sequence[int], style: str
) -> None:
    across = max(1, (console.width + 1) // (_COLUMNS + 1))
    visible = list(order)[: across * _ROWS[part]]
    remainder = f"; the first {len(visible)} here, more with --png" if len(visible) < len(x) else ""
    print_line(console, Text.assemble((part, f"bold {style}"), f", {len(x)} {note}{remainder}"), wrap=True)
    for first in range(0, len(visible), across):
        row = visible[first : first + across]
        print_line(console, Text(" ".join(f"{captions[i]:<{_COLUMNS}}"[:_COLUMNS] for i in row), style=f"bold {style}"))
        for lines in zip(*(thumbnail(x[i], _COLUMNS) for i in row), strict=True):
            print_line(console, Text(" ".join(lines)))


def _print_channels(console: Console, s: Sample) -> None:
    rows = channel_rows(s)
    parts = f"D_train, {len(s.x_train)} steps; D_test, {len(s.x_test)} steps: time across, channels down; ? is a query"
    print_line(console, Text(parts), wrap=True)
    for note in rows.notes:
        print_line(console, Text(note), wrap=True)
    queries = "." * rows.start + "".join("?" if is_scored else "-" for is_scored in s.scored)
    labels = [*(s.labels_train or [" "] * rows.start), *s.labels_test]
    footers = [("query", queries)]
    if s.answer.is_class_label and max(map(len, labels), default=0) == 1:
        footers.insert(0, ("label", "".join(labels)))
    print_heat_map(console, rows.values, rows.names, footers, floor="·")


def _print_curve(console: Console, s: Sample) -> None:
    assert s.curve is not None
    print_plot(console, s.curve, curve_points(s))


def curve_points(s: Sample) -> list[Points]:
    """Returns the points of D_test and of D_train."""
    train_y, test_y = s.answer.to_channels(s.y_train[:, : s.answer.components])[0], s.answer.to_channels(s.y_test)[0]
    return [
        Points("D_test, queries", "x", "cyan", s.x_test[:, 0], test_y),
        Points("D_train, support examples", "O", "bold green", s.x_train[:, 0], train_y),
    ]
