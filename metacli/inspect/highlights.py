"""What to show first: the most informative heads, the memory locations in use, and the first query of interest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.inspect.analysis import (
    USED,
    find_heads,
    head_rows,
    mask_right_steps,
    reading_head_names,
    score_copying,
    share_on_right_class,
)
from metacli.inspect.trace import Head, MemoryTrace

_FIRST = {"read": 1, "attention": 3}  # heads of each kind to show by default; write heads are combined
_FEWEST = 8  # locations to show, if there are so many


class View(NamedTuple):
    """The weightings of one head, or of several write heads combined, as rows over time.

    Attributes:
        who: the name of the head, or how many write heads are combined.
        role: read, write or attention.
        values: (rows, T) weights in [0, 1].
        names: (rows,).
    """

    who: str
    role: str
    values: np.ndarray
    names: list[str]


def build_levels(trace: MemoryTrace, head_names: list[str]) -> list[tuple[str, np.ndarray, list[str]]]:
    """Returns the numbers of each head that are no weightings, such as the strength of its writes.

    Returns:
        For each array of the role `level`: a title, the values (heads, T) as a share of the largest, the heads' names.
    """
    chosen = [h.name for h in find_heads(trace, head_names)]
    levels = []
    for name in trace.names("level"):
        names = list(trace.about[name].names)
        rows = [i for i, head in enumerate(names) if head in chosen]
        values, most = trace.arrays[name][:, rows, 0].T, max(float(trace.arrays[name].max()), 1e-9)
        title = f"{name}, as a share of its largest value, {most:.2f}"
        levels.append((title, values / most, [names[i] for i in rows]))
    return levels


def rank_heads(trace: MemoryTrace) -> dict[str, float]:
    """Returns a score from 0 to 1 for each reading head, the most informative head first.

    If answers name a class, the score is the share of the head's weight on steps of the right class, averaged over
    the queries whose class had been seen. If a sequence is answered in order, it is `score_copying`. Otherwise it is
    the heaviest weight of each query, averaged.
    """
    names, start = reading_head_names(trace), trace.start
    if trace.sources is None:
        return {}
    if trace.sample.answer.is_class_label:
        is_answerable = mask_right_steps(trace).any(1)
        scores = share_on_right_class(trace)[is_answerable if is_answerable.any() else slice(None)].mean(0)
    elif trace.sample.mode == "sequence" and start:
        scores = np.array([score_copying(trace.sources[:, i], start) for i in range(len(names))])
    else:
        scores = np.array([h.weights[start:].max(1).mean() for h in trace.heads if h.role != "write"])
    order = np.argsort(-scores, kind="stable")
    return {names[i]: float(scores[i]) for i in order}


def select_heads(trace: MemoryTrace, head_names: list[str]) -> list[Head]:
    """Returns the heads of these names; without names the write heads, then the most informative reading heads.

    Raises:
        UsageError: no such head, or the model has none.
    """
    heads = find_heads(trace, head_names)
    if head_names:
        return heads
    rank = {name: i for i, name in enumerate(rank_heads(trace))}
    selected = [h for h in heads if h.role == "write"]
    for role, count in _FIRST.items():
        same = sorted((h for h in heads if h.role == role), key=lambda h: rank[h.name])
        selected += same[:count]
    return selected


def build_views(trace: MemoryTrace, head_names: list[str]) -> list[View]:
    """Returns a view of each of `select_heads`; without names, all write heads are combined by their largest weight.

    Raises:
        UsageError: no such head, or the model has none.
    """
    heads = select_heads(trace, head_names)
    writes = [h for h in heads if h.role == "write"]
    if not head_names and len(writes) > 1:
        combined = Head(f"the strongest of {len(writes)} heads", "write", np.max([h.weights for h in writes], 0))
        heads = [combined, *(h for h in heads if h.role != "write")]
    return [View(h.name, h.role, *head_rows(trace, h)) for h in heads]


def describe_hidden_heads(trace: MemoryTrace, head_names: list[str]) -> str:
    """Returns a note on the reading heads that `build_views` hides and how to show them; empty if it hides none."""
    visible_heads = {h.name for h in select_heads(trace, head_names)}
    hidden_heads = [name for name in rank_heads(trace) if name not in visible_heads]
    if head_names or not hidden_heads:
        return ""
    named = ", ".join(hidden_heads[:4]) + (", ..." if len(hidden_heads) > 4 else "")
    is_one = len(hidden_heads) == 1
    subject = "1 less informative read head is" if is_one else f"{len(hidden_heads)} less informative read heads are"
    return f"{subject} hidden ({named}). Use `--head all` to show every head."


def find_used_locations(views: list[View]) -> np.ndarray:
    """Returns the locations with a weight of at least `USED` at some step, and a few in any case; none without views.

    They are sorted. If a quarter of all locations lie unused in one stretch, the order starts after it and may pass
    from the last location to the first, as the heads of an NTM do.
    """
    if not views:
        return np.array([], int)
    peak = np.max([v.values for v in views], (0, 2))
    few = np.argsort(-peak, kind="stable")[: min(_FEWEST, len(peak))]
    used = np.union1d(np.flatnonzero(peak >= USED), few)
    gaps = np.diff(np.append(used, used[0] + len(peak)))
    return np.roll(used, -(int(gaps.argmax()) + 1)) if gaps.max() > len(peak) / 4 else used


def select_most_read(views: list[View], rows: np.ndarray, most: int) -> np.ndarray:
    """Returns the `most` rows with the heaviest read weights (write weights if no view reads), in their order."""
    values = [v.values for v in views if v.role != "write"] or [v.values for v in views]
    if len(rows) <= most:
        return rows
    peak = np.max(values, (0, 2))[rows]
    return rows[np.sort(np.argsort(-peak, kind="stable")[:most])]


def choose_first_step(trace: MemoryTrace) -> int:
    """Returns the step to show first: the first wrong answer to a query whose class had been seen.

    If there is none, the first query whose class had been seen, or else the first query.
    """
    scored = trace.sample.scored
    is_answerable = scored & mask_right_steps(trace).any(1) if trace.sample.answer.is_class_label else scored
    correct = trace.decoded.correct
    wrong = is_answerable & ~correct if correct is not None else is_answerable & False
    for candidates in (wrong, is_answerable, scored):
        if candidates.any():
            return trace.start + int(candidates.argmax())
    return trace.start
