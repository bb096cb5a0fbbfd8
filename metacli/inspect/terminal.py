"""A trace as a summary in the terminal, at most 80 columns wide and readable without colour."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.inspect.analysis import format_answer, label_of_step, reading_head_names, share_on_right_class
from metacli.inspect.highlights import (
    build_levels,
    build_views,
    describe_hidden_heads,
    find_used_locations,
    rank_heads,
    select_heads,
    select_most_read,
)
from metacli.inspect.trace import Head, MemoryTrace
from metacli.show.console import printable
from metacli.show.heatmap import print_heat_map
from metacli.show.plot import Points, print_plot
from metacli.show.samples import curve_points

_ROWS = 24  # of a heat map
_STEPS = 60  # lines of the table
_SHARES = 8  # heads whose share on the right class is printed


def print_trace(console: Console, trace: MemoryTrace, heads: list[str]) -> None:
    """Prints the answers, what each step wrote and read, and a heat map for each view of the memory.

    Args:
        heads: names of the heads to show separately, or `all`; empty for the most informative ones, see `build_views`.
    """
    s = trace.sample
    chosen = select_heads(trace, heads)
    console.print(Text(printable(console, f"{trace.model} on {s.title}"), style="bold"))
    for label, c in s.legend:
        console.print(Text(f"  {label} = {printable(console, c)}", style="dim"))
    console.print(trace.verdict, highlight=False)
    if s.view == "curve" and s.curve is not None:
        print_plot(console, s.curve, _drawn_points(trace))
    console.print()
    console.print(_step_table(trace, chosen))
    if trace.steps > _STEPS:
        console.print(f"... {trace.steps - _STEPS} more steps; --out saves all of them", highlight=False)
    if trace.sources is not None and s.answer.is_class_label:
        _print_shares(console, trace)
    _print_all_maps(console, trace, heads)
    if note := describe_hidden_heads(trace, heads):
        console.print(Text(note, style="dim"))


def _drawn_points(trace: MemoryTrace) -> list[Points]:
    """Returns the points of the task and the answers of the model. If it predicts a scale, also mean ± 2 scales."""
    s, decoded, x = trace.sample, trace.decoded, trace.sample.x_test[:, 0]
    points = [*curve_points(s), Points("answers of the model", "*", "magenta", x, decoded.prediction[:, 0])]
    if decoded.scale is not None:
        ends = np.concatenate([decoded.prediction - 2 * decoded.scale, decoded.prediction + 2 * decoded.scale])
        points.insert(0, Points("mean ± 2 scales", "-", "magenta", np.concatenate([x, x]), ends[:, 0]))
    return points


def _step_table(trace: MemoryTrace, heads: list[Head]) -> Table:
    """Returns a table with a row for each step: its input, where it wrote, where it read, its answer."""
    columns: dict[str, Callable[[int], Text | str]]
    columns = {"step": lambda t: str(t + 1), "in": lambda t: _format_input(trace, t)}
    for role, name in (("write", "wrote location"), ("read", "read location")):
        same = [h for h in heads if h.role == role]
        if same:
            columns[name] = partial(_format_peak, same)
    chosen = {h.name for h in heads}
    reading = [i for i, name in enumerate(reading_head_names(trace)) if name in chosen]
    if reading:
        columns["read from"] = partial(_format_source, trace, reading)
    columns["answer"] = lambda t: _format_decoded(trace, t - trace.start)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True)
    for t in range(min(trace.steps, _STEPS)):
        table.add_row(*(cell(t) for cell in columns.values()))
    return table


def _format_input(trace: MemoryTrace, step: int) -> str:
    """Returns the label of a step's input, with a `?` in D_test; x for a vector."""
    label = label_of_step(trace, step)
    return f"{label}?" if step >= trace.start else label or "x"


def _format_peak(heads: list[Head], step: int) -> str:
    """Returns the location with the heaviest weight and the weight, as in `3 0.97`; locations count from 1."""
    best = max(heads, key=lambda h: h.weights[step].max())
    location = int(best.weights[step].argmax())
    return f"{location + 1} {best.weights[step, location]:.2f}"


def _format_source(trace: MemoryTrace, heads: list[int], step: int) -> str:
    """Returns the earlier step with most of the read weight, averaged over heads, as in `step 2 (4) 0.91`."""
    if trace.sources is None or step == 0:
        return "-"
    shares = trace.sources[step, heads].mean(0)[:step]
    source = int(shares.argmax())
    label = label_of_step(trace, source)
    return f"step {source + 1}{f' ({label})' if 0 < len(label) < 3 else ''} {shares[source]:.2f}"


def _format_decoded(trace: MemoryTrace, query: int) -> Text:
    if query < 0 or not trace.sample.scored[query]:
        return Text("")
    word, decoded = format_answer(trace, query), trace.decoded
    if decoded.correct is None or decoded.confidence is None:
        return Text(word)
    confidence, correct = decoded.confidence[query], bool(decoded.correct[query])
    return Text(f"{word} {confidence:.2f} {'right' if correct else 'WRONG'}", style="green" if correct else "red")


def _print_shares(console: Console, trace: MemoryTrace) -> None:
    shares, correct = share_on_right_class(trace), trace.arrays["correct"]
    names, order = reading_head_names(trace), list(rank_heads(trace))
    console.print()
    console.print("share of each head's weight on the right class (right answers, wrong answers)", highlight=False)
    for name in order[:_SHARES]:
        share = shares[:, names.index(name)]
        parts = [f"{share[mask].mean():.2f}" if mask.any() else " -  " for mask in (correct, ~correct)]
        console.print(f"  {name:<{max(map(len, names))}}  {parts[0]}  {parts[1]}", highlight=False)
    if len(order) > _SHARES:
        console.print(f"  and {len(order) - _SHARES} heads with smaller shares", highlight=False)


def _print_all_maps(console: Console, trace: MemoryTrace, heads: list[str]) -> None:
    footers = _build_footers(trace)
    views = build_views(trace, heads)
    if not views:
        states = [name for name, about in trace.about.items() if about.axes == ("layer", "unit")]
        if not states:
            return
        name = states[0]
        top = trace.arrays[name][:, -1]  # (T, units)
        units = np.sort(np.argsort(-top.std(0), kind="stable")[:_ROWS])
        values = (top[:, units].T.clip(-1, 1) + 1) / 2
        title = f"{name} of the last layer, the {len(units)} units that vary most: blank is -1, full is 1"
        _print_map(console, title, values, [f"unit {u + 1}" for u in units], footers)
        return
    verbs = {"write": "written by", "read": "read by", "attention": "attended by"}
    locations = [v for v in views if v.role != "attention"]
    location_rows = select_most_read(locations, find_used_locations(locations), _ROWS)  # the same for reads and writes
    for view in views:
        is_memory = view.role != "attention"
        rows = location_rows if is_memory else select_most_read([view], np.arange(len(view.names)), _ROWS)
        remainder = f"; {n_hidden} rows hidden" if (n_hidden := len(view.names) - len(rows)) else ""
        scale = f"blank is 0, full is 1; heaviest weight {view.values.max():.2f}"
        title = f"{verbs[view.role]} {view.who}: {scale}{remainder}"
        _print_map(console, title, view.values[rows], [view.names[r] for r in rows], footers)
    for title, values, names in build_levels(trace, heads):
        _print_map(console, title, values, names, footers)
    marks = "; answer: + right, ! wrong" if trace.decoded.correct is not None else ""
    console.print(Text(f"set: D is D_train, ? is D_test{marks}", style="dim"))


def _build_footers(trace: MemoryTrace) -> list[tuple[str, str]]:
    s = trace.sample
    labels = "".join(label_of_step(trace, t) for t in range(trace.steps))
    phase = "D" * trace.start + "?" * len(s.x_test)
    footers = [("set", phase), *([("label", labels)] if len(labels) == trace.steps else [])]
    if (correct := trace.decoded.correct) is not None:
        marks = "".join("." if not a else "+" if ok else "!" for a, ok in zip(s.scored, correct, strict=True))
        footers.append(("answer", " " * trace.start + marks))
    return footers


def _print_map(
    console: Console, title: str, values: np.ndarray, names: list[str], footers: list[tuple[str, str]]
) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    print_heat_map(console, values, names, footers)
