"""Measures of the use of memory, averaged over many tasks."""

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
from metacli.inspect.statistics import print_statistics
from metacli.inspect.trace import MemoryTrace
from metacli.tasks.metrics import Metric, format_score

Key = tuple[str, str]  # (measure, head or '')

MEANING = {
    "on the right class": "share of the read weight on support examples of the query's class",
    "uniform baseline": "the same share for a head that reads all support examples evenly",
    "entropy of reads": "in bits; 0 for one location or step, log2 n for n with equal weights",
    "confidence": "probability of the predicted answer",
    "locations used": "number of locations that a step wrote with a weight of at least 0.1",
    "entropy of writes": "in bits; 0 for one location",
    "writes in order": "1 if the head writes one location per step of D_train and then moves to the next one",
    "reads in order": "1 if the head reads one location per answer and then moves to the next one",
    "reads follow writes": "share of the weight at answer k on what step k wrote, at the best fixed lag",
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
    """Collects the measures of many traces.

    Args:
        requires_memory: whether `add` refuses a model without memory.
    """

    def __init__(self, requires_memory: bool = True) -> None:
        self._requires_memory = requires_memory
        self._values: dict[Key, list[tuple[float, float, float]]] = {}
        self._task_scores: list[float] = []
        self._metric = Metric("accuracy", "%", True)

    def add(self, trace: MemoryTrace) -> None:
        """Adds the measures of one task.

        Raises:
            UsageError: the model has no memory, unless it may have none.
        """
        if self._requires_memory and not trace.heads:
            raise UsageError(f"{trace.model} has no memory to measure", "leave out --tasks to see its states")
        decoded, scored = trace.decoded, trace.sample.scored
        right = scored & False if decoded.correct is None else decoded.correct
        wrong = scored & False if decoded.correct is None else ~right
        self._metric = _metric_of(trace)
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
        """Returns plain values: the score of the tasks, and the mean over tasks of each measure.

        A measure has means for all, for right and for wrong answers, null without such answers. `ci95` is half the
        width of the 95 % interval. docs/cli.md describes the keys.
        """
        rows = []
        for (measure, head), values in self._values.items():
            columns = [mean_ci95(column) for column in np.array(values).T]
            parts = {
                name: {"mean": _null_if_nan(mean), "ci95": _null_if_nan(half)}
                for name, (mean, half) in zip(("all", "right", "wrong"), columns, strict=True)
            }
            rows.append({"measure": measure, "head": head, **parts})
        n_tasks, metric = len(self._task_scores), self._metric
        score = metric.score(*mean_ci95(np.array(self._task_scores)), n_tasks)
        return {"n_tasks": n_tasks, "metrics": {metric.name: metric.as_dict()}, metric.key: score, "measures": rows}


def _metric_of(trace: MemoryTrace) -> Metric:
    """Returns the metric that a trace is scored by; an answer of several bits counts as a whole."""
    if trace.decoded.correct is None:
        return Metric("squared_error", "", False)
    return Metric("accuracy" if trace.sample.answer.is_class_label else "exact_match", "%", True)


def print_usage(console: Console, summary: dict[str, Any]) -> None:
    """Prints the result of `metacli.inspect.inspection.measure_usage` as tables."""
    name, metric = next(iter(summary["metrics"].items()))
    title = f"{summary['n_tasks']:,} tasks, {name.replace('_', ' ')} {format_score(summary[metric['key']])}"
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
    if summary.get("statistics"):
        print_statistics(console, summary["statistics"])


def _format_cell(part: dict[str, float | None]) -> str:
    """Returns a measure, which is below 10, with three digits after the point, so that columns can be compared."""
    if part["mean"] is None:
        return "-"
    return f"{part['mean']:.3f}" + ("" if part["ci95"] is None else f" ± {part['ci95']:.3f}")


def _null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value
