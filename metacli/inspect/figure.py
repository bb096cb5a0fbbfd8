"""A trace as a picture, as in the papers: inputs above, then the heads on one fixed scale from 0 to 1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metacli.inspect.analysis import format_answer, label_of_step
from metacli.inspect.panels import Panel, build_panels
from metacli.inspect.trace import MemoryTrace
from metacli.show import figures
from metacli.show.channels import channel_rows, tick_steps
from metacli.show.fonts import join_into_lines, make_drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOT_ALTERNATIVE = "or choose other formats: --format npz,html,json"
_MAP = "cividis"  # perceptually uniform, also for color-blind readers
_RIGHT, _WRONG, _INK = "#0072b2", "#d55e00", "#30363d"  # blue and vermilion, for color-blind readers
_LINE = {"color": "#c2185b", "linewidth": 1.2}  # between D_train and D_test
_ITEM = 0.94  # of a step's width, for an image

_DPI = 130
_ROW = 0.16  # inches of a location or step, which its name needs
_TALLEST = 6.0, 2.4  # inches of a panel, where there are few and where there are many


def save_figure(path: str | Path, trace: MemoryTrace, heads: list[str]) -> None:
    """Saves a trace as a PNG; see `draw_trace`.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
        UsageError: no such head.
    """
    with figures.default_style(trace.sample.classes):
        figures.save(path, draw_trace(trace, heads))


def draw_trace(trace: MemoryTrace, heads: list[str]) -> Figure:
    """Draws inputs along the time axis, answers, write and read weightings, and usage.

    Use it within `figures.default_style`.

    Args:
        heads: names of the heads to draw, or `all`; empty for the most informative ones, see `build_views`.
    """
    panels, notes = build_panels(trace, heads)
    width = float(np.clip(1.8 + 0.3 * trace.steps, 8.5, 24))
    tallest = _TALLEST[len(panels) > 4]
    heights = [_input_height(trace, width), 0.5, *(_panel_height(len(p.values), tallest) for p in panels)]
    classes = _class_lines(trace, width)
    room = sum(heights) + 0.42 * len(heights) + 1.2 + 0.16 * len(classes)
    figure = figures.new_figure(width, room, _DPI)
    axes = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _draw_inputs(axes[0], trace, classes)
    _draw_answers(axes[1], trace)
    images = [_draw_panel(ax, panel, height) for panel, ax, height in zip(panels, axes[2:], heights[2:], strict=True)]
    for ax in axes:
        ax.set_xlim(-0.6, trace.steps - 0.4)
        ax.spines[["top", "right"]].set_visible(False)
        if 0 < trace.start < trace.steps:
            ax.axvline(trace.start - 0.5, **_LINE)
    axes[-1].set_xlabel("step")
    ticks = list(range(trace.steps)) if trace.steps <= 20 else tick_steps(trace.steps)
    axes[-1].set_xticks(ticks, [str(t + 1) for t in ticks])
    _add_title(figure, trace)
    if panels:
        bar = figure.colorbar(images[0], ax=axes[2:].tolist(), fraction=0.02, pad=0.01, aspect=30)
        bar.set_label("unit, -1 to 1" if panels[0].low < 0 else "weight, from 0 to 1")
        figure.supxlabel("\n".join(_wrap(note, width) for note in notes), fontsize=9, color=_INK)
    return figure


def _panel_height(rows: int, tallest: float) -> float:
    """Returns the height of a panel in inches, at least a pixel for each row."""
    return max(min(tallest, max(0.8, _ROW * rows)), rows / 110)


def _draw_panel(ax: Axes, panel: Panel, height: float) -> Any:
    names = panel.names
    image = ax.imshow(panel.values, aspect="auto", cmap=_MAP, vmin=panel.low, vmax=1, interpolation="nearest")
    step = max(1, -(-len(names) // int(height * 7)))
    rows = list(range(0, len(names), step))
    ax.set_yticks(rows, [names[r] for r in rows], fontsize=7)
    ax.set_title(panel.title, fontsize=9, loc="left", color=_INK)
    ax.tick_params(length=2)
    return image


def _input_height(trace: MemoryTrace, width: float) -> float:
    """Returns the height of the inputs in inches: images are as tall as their step is wide, and have a label."""
    s = trace.sample
    return (
        1.4 * (width - 1.8) / trace.steps
        if s.view == "images"
        else 0.085 * (s.x_test.shape[1] + 2 * s.y_test.shape[1]) + 0.5
    )


def _class_lines(trace: MemoryTrace, width: float) -> list[str]:
    """Returns lines with the class name of each label."""
    named = [f"{label} = {make_drawable(name)}" for label, name in trace.sample.legend]
    return join_into_lines(named, 9 / 72 * _DPI, (width - 2.5) * _DPI)


def _draw_inputs(ax: Axes, trace: MemoryTrace, classes: list[str]) -> None:
    """Draws images, each at its step with its label below, or numbers as rows."""
    s = trace.sample
    if s.view != "images":
        _draw_channels(ax, trace, classes)
        return
    for t, item in enumerate(trace.arrays["x"]):
        image = item.transpose(1, 2, 0) if len(item) == 3 else item[0]
        box = (t - _ITEM / 2, t + _ITEM / 2, 0, 1)
        ax.imshow(image, extent=box, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        label = f"{label_of_step(trace, t)}{'?' if t >= trace.start else ''}"
        size = 8 if trace.steps <= 60 and len(label) < 4 else 4.5
        ax.text(t, -0.1, label, ha="center", va="top", fontsize=size, color=_INK)
    ax.set_ylim(-0.35, 1.02)
    ax.set_yticks([])
    ax.tick_params(bottom=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    late = "; the label of the previous query arrives with each query" if s.mode == "stream" else ""
    title = f"inputs with labels; ? marks a query{late}"
    ax.set_title("\n".join([*classes, title]), fontsize=9, loc="left", color=_INK)


def _draw_channels(ax: Axes, trace: MemoryTrace, classes: list[str]) -> None:
    """Draws inputs, right answers and the model's answers as rows over time, class labels below."""
    rows, s = channel_rows(trace.sample, trace.decoded), trace.sample
    parts = {"inputs": rows.inputs, "right answers": rows.answers, "answers of the model": rows.guesses}
    parts = {name: values for name, values in parts.items() if len(values)}
    picture = np.concatenate(list(parts.values()))
    ax.imshow(picture, aspect="auto", cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    edges = np.cumsum([len(values) for values in parts.values()])
    for edge in edges[:-1]:
        ax.axhline(edge - 0.5, color="#9aa4ae", linewidth=0.8)
    middles = [edge - len(values) / 2 - 0.5 for edge, values in zip(edges, parts.values(), strict=True)]
    ax.set_yticks(middles, list(parts), fontsize=8)
    if s.answer.is_class_label:
        for t in range(trace.steps):
            ax.text(t, edges[-1] - 0.4, label_of_step(trace, t), ha="center", va="top", fontsize=7, color=_INK)
    scaled = "; each row of real numbers from white, its lowest, to black" if rows.notes else "; dark is 1"
    title = "inputs and labels" if s.answer.is_class_label else "inputs, right answers and answers of the model"
    ax.set_title("\n".join([*classes, f"{title}{scaled}"]), fontsize=9, loc="left", color=_INK)


def _draw_answers(ax: Axes, trace: MemoryTrace) -> None:
    """Draws a mark for each answer: its confidence, a dot if right, a cross if wrong; or its absolute error."""
    s, decoded = trace.sample, trace.decoded
    steps = trace.start + np.arange(len(s.scored))
    ax.grid(axis="y", color="#e3e7eb", linewidth=0.6)
    if decoded.correct is None or decoded.confidence is None:
        off = np.abs(decoded.prediction - s.y_test).max(1)
        ax.scatter(steps[s.scored], off[s.scored], marker="o", color=_RIGHT, s=22, zorder=3)
        highest, title = float(off[s.scored].max(initial=0)), "absolute error of each answer"
        if decoded.scale is not None:
            bound = 2 * decoded.scale.max(1)
            ax.scatter(steps[s.scored], bound[s.scored], marker="_", color=_INK, s=60, zorder=2)
            highest, title = max(highest, float(bound[s.scored].max(initial=0))), f"{title}; bars are 2 scales"
        ax.set_ylim(0, 1.2 * max(highest, 1e-6))
        ax.set_title(title, fontsize=9, loc="left", color=_INK)
        return
    correct, sure = decoded.correct, decoded.confidence
    for mask, marker, color in ((correct, "o", _RIGHT), (~correct, "x", _WRONG)):
        chosen = mask & s.scored
        ax.scatter(steps[chosen], sure[chosen], marker=marker, color=color, s=22, zorder=3)
    if s.answer.is_class_label and len(s.labels_test[0]) < 3 and trace.steps <= 60:
        for q in np.flatnonzero(~correct & s.scored).tolist():
            ax.text(steps[q] + 0.2, sure[q], format_answer(trace, q), fontsize=7, color=_WRONG, va="center")
    ax.set_ylim(-0.08, 1.12)
    ax.set_yticks([0, 1])
    title = "answers by confidence: a blue dot is right, an orange cross is wrong, with the answer beside it"
    ax.set_title(title, fontsize=9, loc="left", color=_INK)


def _add_title(figure: Figure, trace: MemoryTrace) -> None:
    figure.suptitle(f"{trace.model} on {trace.sample.title}; {trace.verdict}", fontsize=12, x=0.01, ha="left")


def _wrap(text: str, width: float) -> str:
    from textwrap import fill

    return fill(text, int(width * 13))
