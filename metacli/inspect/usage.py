"""Measures of how memory is used, averaged over many tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.errors import UsageError
from metacli.evaluation.confidence import mean_ci95
from metacli.inspect.analysis import (
    entropy,
    find_written_locations,
    reading_head_names,
    score_copying,
    score_order,
    share_on_right_class,
    uniform_baseline,
)
from metacli.inspect.trace import MemoryTrace

Key = tuple[str, str]  # (measure, head or '')

MEANING = {
    "on the right class": "share of read weight on what was written of the question's own class",
    "uniform baseline": "the same share for a head that reads everything alike: the line to beat",
    "entropy of reads": "in bits: 0 reads one place, log2 n reads n places alike",
    "confidence": "probability of the given answer",
    "locations used": "locations that some step wrote with a weight of 0.1 or more",
    "entropy of writes": "in bits: 0 writes one location",
    "writes in order": "1: the head writes one location per step of D_train, the next one each time",
    "reads in order": "1: the head reads one location per answer, the next one each time",
    "reads follow writes": "share of the read of answer k on what was written at step k (at the best fixed lag)",
}


def measure_queries(trace: MemoryTrace) -> dict[Key, np.ndarray]:
    """Returns the measures of each query, each (Q,)."""
    measures: dict[Key, np.ndarray] = {}
    names = reading_head_names(trace)
    if trace.sample.answer.is_class_label and trace.sources is not None:
        measures |= {
            ("on the right class", n): share for n, share in zip(names, share_on_right_class(trace).T, strict=True)
        }
        measures["uniform baseline", ""] = uniform_baseline(trace)
    for head in trace.heads:
        if head.role != "write":
            measures["entropy of reads", head.name] = entropy(head.weights[trace.start :])
    if "confidence" in trace.arrays:
        measures["confidence", ""] = trace.arrays["confidence"]
    return measures


def measure_task(trace: MemoryTrace) -> dict[Key, float]:
    """Returns the measures of a task as a whole."""
    measures: dict[Key, float] = {}
    learning = slice(0, trace.start or trace.steps)
    writes = [h for h in trace.heads if h.role == "write"]
    if writes:
        measures["locations used", ""] = float(len(find_written_locations(trace)))
    for head in writes:
        measures["entropy of writes", head.name] = float(entropy(head.weights[learning]).mean())
    if trace.sample.mode == "sequence":
        measures |= {("writes in order", h.name): score_order(h.weights[learning]) for h in writes}
        reads = [h for h in trace.heads if h.role == "read"]
        measures |= {("reads in order", h.name): score_order(h.weights[trace.start :]) for h in reads}
        if trace.start and trace.sources is not None:
            for i, name in enumerate(reading_head_names(trace)):
                measures["reads follow writes", name] = score_copying(trace.sources[:, i], trace.start)
    return measures


class Usage:
    """Collects the measures of many traces."""

    def __init__(self) -> None:
        self._values: dict[Key, list[tuple[float, float, float]]] = {}
        self._task_scores: list[float] = []  # the share of right answers, or the mean squared error
        self._measure = ""

    def add(self, trace: MemoryTrace) -> None:
        """Adds the measures of one task.

        Raises:
            UsageError: the model has no memory.
        """
        if not trace.heads:
            raise UsageError(f"{trace.model} has no memory to measure", "leave --tasks out to see its states")
        decoded, scored = trace.decoded, trace.sample.scored
        right = scored & False if decoded.correct is None else decoded.correct
        wrong = scored & False if decoded.correct is None else ~right
        self._measure = "squared_error" if decoded.correct is None else "answers_right"
        score = np.square(decoded.prediction - trace.sample.y_test) if decoded.correct is None else right
        self._task_scores.append(float(score[scored].mean()))
        for key, values in measure_queries(trace).items():
            parts = (scored, scored & right, scored & wrong)
            means = [float(values[mask].mean()) if mask.any() else np.nan for mask in parts]
            self._values.setdefault(key, []).append((means[0], means[1], means[2]))
        all_right = bool(right[scored].all())
        is_scored = decoded.correct is not None
        for key, value in measure_task(trace).items():
            split = (
                value,
                value if is_scored and all_right else np.nan,
                value if is_scored and not all_right else np.nan,
            )
            self._values.setdefault(key, []).append(split)

    def summary(self) -> dict[str, Any]:
        """Returns plain values: the share of right answers (or the mean squared error) and each measure's mean.

        Each mean over tasks is given for all, the right and the wrong answers, null where there are none. `ci95` is
        half the width of its 95 % interval.
        """
        rows = []
        for (measure, head), values in self._values.items():
            columns = [mean_ci95(column) for column in np.array(values).T]
            parts = {
                name: {"mean": _null_if_nan(mean), "ci95": _null_if_nan(half)}
                for name, (mean, half) in zip(("all", "right", "wrong"), columns, strict=True)
            }
            rows.append({"measure": measure, "head": head, **parts})
        return {"n_tasks": len(self._task_scores), self._measure: float(np.mean(self._task_scores)), "measures": rows}


def print_usage(console: Console, summary: dict[str, Any]) -> None:
    """Prints `Usage.summary` as a table."""
    title = f"{summary['n_tasks']} tasks, "
    if "answers_right" in summary:
        title += f"{summary['answers_right']:.1%} of answers right"
    else:
        title += f"mean squared error {summary['squared_error']:.4g}"
    console.print(Text(title, style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("measure", "head"):
        table.add_column(column, no_wrap=True)
    for column in ("all answers", "right", "wrong"):
        table.add_column(column, no_wrap=True, justify="right")
    for row in summary["measures"]:
        table.add_row(row["measure"], row["head"], *(_format_cell(row[part]) for part in ("all", "right", "wrong")))
    console.print(table)
    console.print()
    for measure in dict.fromkeys(row["measure"] for row in summary["measures"]):
        console.print(Text(f"{measure}: {MEANING[measure]}", style="dim"))


def _format_cell(part: dict[str, float | None]) -> str:
    if part["mean"] is None:
        return "-"
    return f"{part['mean']:.3f}" + ("" if part["ci95"] is None else f" ± {part['ci95']:.3f}")


def _null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value
