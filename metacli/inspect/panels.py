"""The panels of a figure: a heat map for each informative head, with the rows that matter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.inspect.analysis import ALL, mask_right_steps, uniform_baseline
from metacli.inspect.highlights import (
    View,
    build_levels,
    build_views,
    describe_hidden_heads,
    find_used_locations,
    rank_heads,
    select_most_read,
)
from metacli.inspect.trace import MemoryTrace

_MOST = 28  # locations to show, unless the user asks for all heads

LEGENDS = {
    "locations": "A column is a step, a row is a memory location; bright means a large weight. A step that reads a "
    "location gets what an earlier step wrote there: look for the bright cells of the same row in a write panel.",
    "steps": "A column is a step, a row is a step that it can attend to; bright means a large weight. "
    "The evidence for an answer is right if the row has the same label as the column.",
    "units": "A column is a step, a row is a unit. A unit that stays bright or dark stores something.",
}


class Panel(NamedTuple):
    """A heat map: values (rows, T) from `low` to 1, a name for each row, and the kind of its rows (see `LEGENDS`)."""

    values: np.ndarray
    names: list[str]
    title: str
    kind: str
    low: float = 0.0


def build_panels(trace: MemoryTrace, heads: list[str]) -> tuple[list[Panel], list[str]]:
    """Returns the panels under the answers, and notes on how to read them.

    The panels show the heads, then usage; for a model without heads, its states.

    Args:
        heads: names of the heads to draw, or `all`; empty for the most informative ones, see `build_views`.
    """
    views = build_views(trace, heads)
    locations = [v for v in views if v.role != "attention"]
    used = find_used_locations(locations)
    rows = used if ALL in heads else select_most_read(locations, used, _MOST)
    panels = []
    for view in views:
        if view.role == "attention":
            panels.append(Panel(view.values, view.names, _panel_title(trace, view), "steps"))
        else:
            names = [view.names[r] for r in rows]
            panels.append(Panel(view.values[rows], names, _panel_title(trace, view), "locations"))
    for name in trace.names("usage") if locations else []:
        values, most = trace.arrays[name].T[rows], max(float(trace.arrays[name].max()), 1e-9)
        title = f"{name}, as a share of its largest value, {most:.2f}"
        panels.append(Panel(values / most, panels[0].names, title, "locations"))
    panels += [Panel(values, names, title, "levels") for title, values, names in build_levels(trace, heads)]
    panels = panels or _build_state_panels(trace)
    notes = [LEGENDS[panels[0].kind]] if panels else []
    if len(rows) < len(used):
        notes.append(
            f"{len(used) - len(rows)} less read locations are hidden. Use `--head all` to show every location."
        )
    return panels, notes + [note for note in [describe_hidden_heads(trace, heads)] if note]


def _panel_title(trace: MemoryTrace, view: View) -> str:
    """Returns the title of a panel: the head, its share of weight on the right class, and its heaviest weight."""
    verb = {"write": "written by", "read": "read by", "attention": "attended by"}[view.role]
    share, heaviest = "", f", heaviest weight {view.values.max():.2f}"
    if view.who in (shares := rank_heads(trace)) and trace.sample.answer.is_class_label:
        even = uniform_baseline(trace)[mask_right_steps(trace).any(1)]
        spread = f" (evenly spread: {even.mean():.2f})" if len(even) else ""
        share = f", {shares[view.who]:.2f} of its weight on the right class{spread}"
    return f"{verb} {view.who}{share}{heaviest}"


def _build_state_panels(trace: MemoryTrace) -> list[Panel]:
    panels = []
    for name, about in trace.about.items():
        if about.axes == ("layer", "unit"):
            values = trace.arrays[name][:, -1].T
            units = np.argsort(-values.std(1), kind="stable")[:40]
            cut = "; values beyond 1 are shown as 1" if np.abs(values).max() > 1 else ""
            title = f"{name} of the last layer: the {len(units)} units that vary most, by variation{cut}"
            panels.append(Panel(values[units].clip(-1, 1), [f"unit {u + 1}" for u in units], title, "units", -1.0))
    return panels
