"""The work behind `metacli inspect-memory`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metacli.errors import MetacliError, UsageError
from metacli.evaluation.evaluate import CHUNK
from metacli.inspect.analysis import find_heads
from metacli.inspect.figure import PLOT_ALTERNATIVE, save_figure
from metacli.inspect.page import save_page
from metacli.inspect.statistics import LEAST_TASKS, decode_statistics
from metacli.inspect.trace import MemoryTrace, record_traces, save_json, save_npz
from metacli.inspect.usage import Usage, measure_queries, measure_task
from metacli.models.base import MetaLearner
from metacli.show.figures import require_matplotlib
from metacli.system import outputs, terminal
from metacli.tasks.base import Split, Tasks
from metacli.tasks.optimum import OptimumTasks

FORMATS = ("npz", "png", "html", "json")
LAST_TASK = 2**31 - 1


def parse_formats(text: str) -> list[str]:
    """Returns the formats of a list such as `npz,html`. Without matplotlib, png is left out, with a warning on stderr.

    Raises:
        UsageError: an unknown format.
        MetacliError: png is the only format, and matplotlib is missing.
    """
    formats = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in formats if word not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"unknown format {', '.join(unknown) or text!r}", f"a list of {', '.join(FORMATS)}")
    if "png" in formats:
        try:
            require_matplotlib(PLOT_ALTERNATIVE)
        except MetacliError as error:
            if set(formats) == {"png"}:
                raise
            terminal.print_to_stderr(f"warning: no PNG is written: {error.message}. To get one: {error.hint}")
            formats = [name for name in formats if name != "png"]
    return formats


def trace_task(model: MetaLearner, tasks: Tasks, split: Split, index: int, heads: list[str]) -> MemoryTrace:
    """Returns the trace of one task.

    Raises:
        UsageError: the task's number is out of range, or there is no such head.
    """
    if not 0 <= index <= LAST_TASK:
        raise UsageError(f"--task {index} is out of range", f"use a number from 0 to {LAST_TASK}")
    trace = record_traces(model, tasks, split, index)[0]
    find_heads(trace, heads)
    return trace


def check_trace_files(folder: Path, index: int, formats: list[str], force: bool) -> list[Path]:
    """Returns the files of the trace of a task, `folder`/task-INDEX.FORMAT, if they can be written.

    Args:
        force: whether they may replace files that metacli did not write.

    Raises:
        UsageError: see `metacli.system.outputs.check_output`; or the folder is a file.
    """
    if os.path.exists(folder) and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file, not a folder", "name another folder: --out DIR")
    paths = [folder / f"task-{index}.{name}" for name in formats]
    for path in paths:
        if os.path.lexists(path):
            outputs.check_output(path, path.suffix, "--out", force)
    return paths


def save_trace(paths: list[Path], trace: MemoryTrace, heads: list[str]) -> None:
    """Saves a trace to each of these files, in the format of its suffix. Their folders are created.

    Raises:
        MetacliError: a folder or a file cannot be written.
    """
    writers: dict[str, Callable[[Path], None]] = {
        ".npz": lambda path: save_npz(path, trace),
        ".png": lambda path: save_figure(path, trace, heads),
        ".html": lambda path: save_page(path, trace, heads),
        ".json": lambda path: save_json(path, trace),
    }
    for path in paths:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            message = f"cannot write the folder {path.parent}: {e.strerror}"
            raise MetacliError(message, "name another folder: --out DIR") from None
        writers[path.suffix](path)


def measure_usage(
    model: MetaLearner, tasks: Tasks, split: Split, count: int, advance: Callable[[int], object]
) -> dict[str, Any]:
    """Measures how memory is used over the first `count` tasks of a split; see `Usage.summary`.

    With a known optimum and at least `LEAST_TASKS` tasks, also returns `statistics`, see `decode_statistics`.

    Args:
        advance: called with the number of tasks done since the last call.

    Raises:
        UsageError: the model has no memory, and the tasks have no known optimum.
    """
    statistics = []
    if isinstance(tasks, OptimumTasks) and count >= LEAST_TASKS:
        statistics = decode_statistics(model, tasks, split, count)
    usage = Usage(requires_memory=not isinstance(tasks, OptimumTasks))
    for first in range(0, count, CHUNK):
        traces = record_traces(model, tasks, split, first, min(CHUNK, count - first))
        for trace in traces:
            usage.add(trace)
        advance(len(traces))
    return usage.summary() | ({"statistics": statistics} if statistics else {})


def as_json(trace: MemoryTrace) -> dict[str, Any]:
    """Returns the answers and measures of one task as plain values; the arrays are in the files of --out."""
    s, arrays = trace.sample, trace.arrays
    keep = ("answer", "scored", "prediction", "scale", "confidence", "correct")
    rows = [{"measure": m, "head": h, "by_query": _plain(v)} for (m, h), v in measure_queries(trace).items()]
    task_rows = [{"measure": m, "head": h, "value": _plain(v)} for (m, h), v in measure_task(trace).items()]
    return {
        "model": trace.model,
        "task": {"name": s.task, "split": s.split, "index": s.index, "mode": s.mode, "classes": s.classes},
        "steps": {"d_train": trace.start, "d_test": len(s.x_test)},
        "heads": [h.name for h in trace.heads],
        **{name: arrays[name].tolist() for name in keep if name in arrays},
        "measures": rows + task_rows,
    }


def _plain(values: Any) -> Any:
    if isinstance(values, float):
        return None if values != values else values
    return values.tolist()
