"""The work behind the verb `inspect-memory`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from metacli.errors import MetacliError, UsageError
from metacli.evaluation.evaluate import CHUNK
from metacli.inspect.analysis import choose
from metacli.inspect.figure import WITHOUT, save_figure
from metacli.inspect.page import save_page
from metacli.inspect.trace import MemoryTrace, record, save_json, save_npz
from metacli.inspect.usage import Usage, by_question, by_task
from metacli.models.base import MetaLearner
from metacli.show.figures import require_matplotlib
from metacli.tasks.base import Split, Tasks

FORMATS = ("npz", "png", "html", "json")
LAST_TASK = 2**31 - 1


def formats(text: str) -> list[str]:
    """The formats of a list such as `npz,html`.

    Raises:
        UsageError: an unknown format.
        MetacliError: png without matplotlib.
    """
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in FORMATS]
    if unknown or not wanted:
        raise UsageError(f"unknown format {', '.join(unknown) or text!r}", f"a list of {', '.join(FORMATS)}")
    if "png" in wanted:
        require_matplotlib(WITHOUT)
    return wanted


def one_task(model: MetaLearner, tasks: Tasks, split: Split, index: int, heads: list[str]) -> MemoryTrace:
    """The trace of one task.

    Raises:
        UsageError: the task's number is out of range, or there is no such head.
    """
    if not 0 <= index <= LAST_TASK:
        raise UsageError(f"task {index} is out of range", f"tasks have numbers from 0 to {LAST_TASK}")
    trace = record(model, tasks, split, index)[0]
    choose(trace, heads)
    return trace


def save(folder: Path, trace: MemoryTrace, wanted: list[str], heads: list[str]) -> list[Path]:
    """Write a trace in each format to `folder`/task-INDEX.FORMAT and say where.

    Raises:
        MetacliError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise MetacliError(f"cannot write the folder {folder}: {e.strerror}", "name another one: --out DIR") from None
    writers: dict[str, Callable[[Path], None]] = {
        "npz": lambda path: save_npz(path, trace),
        "png": lambda path: save_figure(path, trace, heads),
        "html": lambda path: save_page(path, trace, heads),
        "json": lambda path: save_json(path, trace),
    }
    paths = [folder / f"task-{trace.sample.index}.{name}" for name in wanted]
    for name, path in zip(wanted, paths, strict=True):
        writers[name](path)
    return paths


def many_tasks(
    model: MetaLearner, tasks: Tasks, split: Split, count: int, advance: Callable[[int], object]
) -> dict[str, Any]:
    """How memory is used over the first `count` tasks of a split; see `Usage.summary`.

    Args:
        advance: called with the number of tasks done since the last call.

    Raises:
        UsageError: the model has no memory.
    """
    usage = Usage()
    for first in range(0, count, CHUNK):
        traces = record(model, tasks, split, first, min(CHUNK, count - first))
        for trace in traces:
            usage.add(trace)
        advance(len(traces))
    return usage.summary()


def as_json(trace: MemoryTrace) -> dict[str, Any]:
    """One task's answers and measures as plain values; the arrays are in the files of --out."""
    s, arrays = trace.sample, trace.arrays
    keep = ("answer", "scored", "prediction", "confidence", "correct")
    rows = [{"measure": m, "head": h, "by_question": _plain(v)} for (m, h), v in by_question(trace).items()]
    whole = [{"measure": m, "head": h, "value": _plain(v)} for (m, h), v in by_task(trace).items()]
    return {
        "model": trace.model,
        "task": {"name": s.task, "split": s.split, "index": s.index, "mode": s.mode, "classes": s.classes},
        "steps": {"d_train": trace.start, "d_test": len(s.x_test)},
        "heads": [h.name for h in trace.heads],
        **{name: arrays[name].tolist() for name in keep if name in arrays},
        "measures": rows + whole,
    }


def _plain(values: Any) -> Any:
    if isinstance(values, float):
        return None if values != values else values
    return values.tolist()
