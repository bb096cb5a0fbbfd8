"""A trace as a summary in the terminal, whole at 80 columns, without colour and when piped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.inspect.analysis import answer_word, on_right_class, reading_heads, step_label
from metacli.inspect.highlights import first_heads, in_use, left_out, most_read, telling, views
from metacli.inspect.trace import Head, MemoryTrace
from metacli.show.console import legible
from metacli.show.heatmap import heat_map
from metacli.show.plot import Points, plot
from metacli.show.samples import curve_points

_ROWS = 24  # of a heat map
_STEPS = 60  # lines of the table
_SHARES = 8  # heads whose share on the right class is told


def print_trace(console: Console, trace: MemoryTrace, heads: list[str]) -> None:
    """The answers, step by step what was written and read, and one heat map for each way of looking at memory.

    Args:
        heads: names of the heads to show one by one, or `all`; empty for the most telling, see `telling.views`.
    """
    s = trace.sample
    chosen = first_heads(trace, heads)
    console.print(Text(legible(console, f"{trace.model} on {s.title}"), style="bold"))
    for label, c in s.legend:
        console.print(Text(f"  {label} = {legible(console, c)}", style="dim"))
    console.print(trace.verdict, highlight=False)
    if s.view == "curve" and s.curve is not None:
        said = s.answer.to_channels(trace.arrays["prediction"])[0]
        plot(console, s.curve, [*curve_points(s), Points("the model's answers", "*", "magenta", s.x_test[:, 0], said)])
    console.print()
    console.print(_steps(trace, chosen))
    if trace.steps > _STEPS:
        console.print(f"... {trace.steps - _STEPS} more steps, all of them in the files of --out", highlight=False)
    if trace.sources is not None and s.answer.is_class_label:
        _print_shares(console, trace)
    _print_maps(console, trace, heads)
    if note := left_out(trace, heads):
        console.print(Text(note, style="dim"))


def _steps(trace: MemoryTrace, heads: list[Head]) -> Table:
    """One line for each step: what came in, where it was written, from where was read, the answer."""
    columns: dict[str, Callable[[int], Text | str]] = {"step": str, "in": lambda t: _shown(trace, t)}
    for role, name in (("write", "wrote location"), ("read", "read location")):
        same = [h for h in heads if h.role == role]
        if same:
            columns[name] = partial(_peak, same)
    chosen = {h.name for h in heads}
    reading = [i for i, name in enumerate(reading_heads(trace)) if name in chosen]
    if reading:
        columns["read from"] = partial(_from, trace, reading)
    columns["answer"] = lambda t: _answer(trace, t - trace.start)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True)
    for t in range(min(trace.steps, _STEPS)):
        table.add_row(*(cell(t) for cell in columns.values()))
    return table


def _shown(trace: MemoryTrace, step: int) -> str:
    """An item's label, with a question mark in D_test; vectors have an x."""
    label = step_label(trace, step)
    return f"{label}?" if step >= trace.start else label or "x"


def _peak(heads: list[Head], step: int) -> str:
    """The place of the heaviest weight, as in `3 0.97`."""
    best = max(heads, key=lambda h: h.weights[step].max())
    place = int(best.weights[step].argmax())
    return f"{place} {best.weights[step, place]:.2f}"


def _from(trace: MemoryTrace, heads: list[int], step: int) -> str:
    """The earlier step that most of the read's weight leads to, meant over the heads, as in `step 2 (4) 0.91`."""
    if trace.sources is None or step == 0:
        return "-"
    shares = trace.sources[step, heads].mean(0)[:step]
    source = int(shares.argmax())
    label = step_label(trace, source)
    return f"step {source}{f' ({label})' if 0 < len(label) < 3 else ''} {shares[source]:.2f}"


def _answer(trace: MemoryTrace, question: int) -> Text:
    if question < 0 or not trace.sample.scored[question]:
        return Text("")
    word, decoded = answer_word(trace, question), trace.decoded
    if decoded.correct is None or decoded.confidence is None:
        return Text(word)
    sure, correct = decoded.confidence[question], bool(decoded.correct[question])
    return Text(f"{word} {sure:.2f} {'right' if correct else 'WRONG'}", style="green" if correct else "red")


def _print_shares(console: Console, trace: MemoryTrace) -> None:
    shares, correct = on_right_class(trace), trace.arrays["correct"]
    names, order = reading_heads(trace), list(telling(trace))
    console.print()
    console.print("share of each head's weight on the right class (right answers, wrong answers)", highlight=False)
    for name in order[:_SHARES]:
        share = shares[:, names.index(name)]
        parts = [f"{share[mask].mean():.2f}" if mask.any() else " -  " for mask in (correct, ~correct)]
        console.print(f"  {name:<{max(map(len, names))}}  {parts[0]}  {parts[1]}", highlight=False)
    if len(order) > _SHARES:
        console.print(f"  and {len(order) - _SHARES} heads with less", highlight=False)


def _print_maps(console: Console, trace: MemoryTrace, heads: list[str]) -> None:
    footers = _footers(trace)
    shown = views(trace, heads)
    if not shown:
        states = [name for name, about in trace.about.items() if about.axes == ("layer", "unit")]
        if not states:
            return
        name = states[0]
        top = trace.arrays[name][:, -1]  # (T, units)
        units = np.sort(np.argsort(-top.std(0), kind="stable")[:_ROWS])
        values = (top[:, units].T.clip(-1, 1) + 1) / 2
        title = f"{name} of the last layer, the {len(units)} units that move most: blank -1, full 1"
        _map(console, title, values, [f"unit {u}" for u in units], footers)
        return
    verbs = {"write": "written", "read": "read", "attention": "looked at"}
    locations = [v for v in shown if v.role != "attention"]
    same = most_read(locations, in_use(locations), _ROWS)  # a row of what was read is one of what was written
    for view in shown:
        rows = same if view.role != "attention" else most_read([view], np.arange(len(view.names)), _ROWS)
        rest = f"; {others} other rows left out" if (others := len(view.names) - len(rows)) else ""
        title = f"{verbs[view.role]}, {view.who}: 0 blank, 1 full; heaviest weight {view.values.max():.2f}{rest}"
        _map(console, title, view.values[rows], [view.names[r] for r in rows], footers)
    marks = "; answer: + right, ! wrong" if trace.decoded.correct is not None else ""
    console.print(Text(f"part: D is D_train, ? is D_test{marks}", style="dim"))


def _footers(trace: MemoryTrace) -> list[tuple[str, str]]:
    s = trace.sample
    labels = "".join(step_label(trace, t) for t in range(trace.steps))
    phase = "D" * trace.start + "?" * len(s.x_test)
    footers = [("part", phase), *([("label", labels)] if len(labels) == trace.steps else [])]
    if (correct := trace.decoded.correct) is not None:
        marks = "".join("." if not a else "+" if ok else "!" for a, ok in zip(s.scored, correct, strict=True))
        footers.append(("answer", " " * trace.start + marks))
    return footers


def _map(console: Console, title: str, values: np.ndarray, names: list[str], footers: list[tuple[str, str]]) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    heat_map(console, values, names, footers)
