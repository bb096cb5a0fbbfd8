"""Costs over the number of examples seen as a picture: the model, the optimum and the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metacli.show import figures
from metacli.show.fonts import make_drawable
from metacli.tasks.metrics import Metric
from metacli.tasks.optimum import OPTIMUM, OptimumTasks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_example_curves(path: Path, result: dict[str, Any], tasks: OptimumTasks) -> None:
    """Saves the curves of an evaluation as a PNG: the costs on the left, the distance from the optimum on the right.

    Args:
        result: see `metacli.evaluation.report.summarize_evaluation`.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
    """
    above, loss, *references = [m for m in tasks.metrics if m.axis]
    with figures.default_style([result["recipe"]["name"]]):
        figure = figures.new_figure(9, 3.8)
        left, right = figure.subplots(1, 2)
        for m, name, color in zip(references, tasks.references, figures.COLOURS[1:], strict=False):
            style: dict[str, Any] = {"color": color, "linestyle": ":", "zorder": 1}
            if name == OPTIMUM:
                style = {"color": figures.INK, "linestyle": "--", "zorder": 3}
            _draw_curve(left, result, m, label=name.replace("_", " "), **style)
        _draw_curve(left, result, loss, label=result["recipe"]["model"]["name"], color=figures.COLOURS[0])
        _draw_curve(right, result, above, color=figures.COLOURS[0], band=True)
        right.axhline(0, color=figures.INK, linestyle="--", linewidth=1)
        left.set_ylabel(loss.unit)
        right.set_ylabel(f"{above.unit} {above.note}", fontsize=8)
        left.legend(frameon=False, fontsize=8)
        for ax in (left, right):
            ax.set_xlabel("number of examples seen")
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.3)
        title = f"{result['n_tasks']:,} {result['split']} tasks of {result['recipe']['name']}, band: 95 % interval"
        figure.suptitle(make_drawable(title), fontsize=10)
        figures.save(path, figure)


def _draw_curve(ax: Axes, result: dict[str, Any], m: Metric, band: bool = False, **style: Any) -> None:
    rows = [row for row in result[m.key] if row["mean"] is not None]
    k, mean = np.array([row[m.axis] for row in rows]), np.array([row["mean"] for row in rows])
    half = np.array([row["ci95"] or 0.0 for row in rows])
    if band:
        ax.fill_between(k, mean - half, mean + half, color=style["color"], alpha=0.2, linewidth=0)
    ax.plot(k, mean, linewidth=1.5, marker="o" if len(k) == 1 else None, **style)
