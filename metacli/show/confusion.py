"""A confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

from metacli.evaluation.answers import ConfusionMatrix
from metacli.show import figures
from metacli.show.fonts import make_drawable
from metacli.show.results import shorten

_NAME = 26  # columns of a class name
_CELL = 0.34  # inches
_MOST_NUMBERED = 20  # classes with a number in each cell


def save_confusion(path: Path, matrix: ConfusionMatrix, title: str) -> None:
    """Saves a confusion matrix as a PNG: a row for each right class, with the share of each answer as its shade.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
    """
    count, rows = len(matrix.classes), matrix.counts.sum(1, keepdims=True)
    shares = matrix.counts / rows.clip(min=1)
    with figures.default_style([*matrix.classes, title]):
        names = [make_drawable(shorten(name, _NAME)) for name in matrix.classes]
        figure = figures.new_figure(3.2 + _CELL * count, 2.6 + _CELL * count)
        ax = figure.subplots()
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if count <= _MOST_NUMBERED:
            for row, column in zip(*matrix.counts.nonzero(), strict=True):
                percent = round(100 * shares[row, column])
                color = "white" if shares[row, column] > 0.5 else figures.INK
                ax.text(
                    column, row, str(percent) if percent else "<1", ha="center", va="center", fontsize=7, color=color
                )
        ax.set_xticks(range(count), names, rotation=90, fontsize=8)
        ax.set_yticks(range(count), names, fontsize=8)
        ax.set_xlabel("answer of the model")
        ax.set_ylabel("right class")
        ax.tick_params(length=0)
        bar = figure.colorbar(image, ax=ax, fraction=0.04, pad=0.02, shrink=0.8)
        bar.set_label("share of the queries of the right class, %")
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])
        figure.suptitle(make_drawable(title), fontsize=10)
        figures.save(path, figure)
