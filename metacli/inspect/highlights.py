"""What to look at first: the heads that tell the most, the locations in use, the question to open on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.inspect.analysis import USED, choose, follows, on_right_class, places, reading_heads, right_steps
from metacli.inspect.trace import Head, MemoryTrace

_FIRST = {"read": 1, "attention": 3}  # heads shown of each kind, unless asked for; writes are shown together
_FEWEST = 8  # locations shown, if there are so many


class View(NamedTuple):
    """One way of looking at the memory.

    Attributes:
        who: the name of the head, or that several write.
        role: read, write or attention.
        values: (rows, T) weights in [0, 1].
        names: (rows,).
    """

    who: str
    role: str
    values: np.ndarray
    names: list[str]


def telling(trace: MemoryTrace) -> dict[str, float]:
    """How much each reading head tells about the answers, from 0 to 1, the most telling first.

    Where answers name a class, the share of its weight on what was of the right class, over the questions whose class
    had been seen; where a sequence is answered in order, see `follows`; else the heaviest weight of a question, on
    average.
    """
    names, start = reading_heads(trace), trace.start
    if trace.sources is None:
        return {}
    if trace.sample.answer.is_class_label:
        known = right_steps(trace).any(1)
        scores = on_right_class(trace)[known if known.any() else slice(None)].mean(0)
    elif trace.sample.mode == "sequence" and start:
        scores = np.array([follows(trace.sources[:, i], start) for i in range(len(names))])
    else:
        scores = np.array([h.weights[start:].max(1).mean() for h in trace.heads if h.role != "write"])
    order = np.argsort(-scores, kind="stable")
    return {names[i]: float(scores[i]) for i in order}


def first_heads(trace: MemoryTrace, wanted: list[str]) -> list[Head]:
    """The heads asked for; if none, those that write and the most telling of those that read, these first to last.

    Raises:
        UsageError: no such head, or the model has none.
    """
    heads = choose(trace, wanted)
    if wanted:
        return heads
    rank = {name: i for i, name in enumerate(telling(trace))}
    found = [h for h in heads if h.role == "write"]
    for role, count in _FIRST.items():
        same = sorted((h for h in heads if h.role == role), key=lambda h: rank[h.name])
        found += same[:count]
    return found


def views(trace: MemoryTrace, wanted: list[str]) -> list[View]:
    """Each of `first_heads`; where none is asked for, all that write as one, by the strongest at each place.

    Raises:
        UsageError: no such head, or the model has none.
    """
    heads = first_heads(trace, wanted)
    writes = [h for h in heads if h.role == "write"]
    if not wanted and len(writes) > 1:
        together = Head(f"the strongest of {len(writes)} heads", "write", np.max([h.weights for h in writes], 0))
        heads = [together, *(h for h in heads if h.role != "write")]
    return [View(h.name, h.role, *places(trace, h)) for h in heads]


def left_out(trace: MemoryTrace, wanted: list[str]) -> str:
    """What `views` does not show and how to see it; empty where there is nothing."""
    shown = {h.name for h in first_heads(trace, wanted)}
    rest = [name for name in telling(trace) if name not in shown]
    if wanted or not rest:
        return ""
    named = ", ".join(rest[:4]) + (", ..." if len(rest) > 4 else "")
    return f"{len(rest)} more that read, telling less ({named}): --head NAME shows one, --head all every one"


def in_use(shown: list[View]) -> np.ndarray:
    """The locations that are written or read with `USED` or more at some step, a few in any case; none without views.

    In order; where a quarter of all lie unused in one stretch, from its end on, which may pass from the last location
    to the first, as the heads of an NTM do.
    """
    if not shown:
        return np.array([], int)
    peak = np.max([v.values for v in shown], (0, 2))
    few = np.argsort(-peak, kind="stable")[: min(_FEWEST, len(peak))]
    used = np.union1d(np.flatnonzero(peak >= USED), few)
    gaps = np.diff(np.append(used, used[0] + len(peak)))
    return np.roll(used, -(int(gaps.argmax()) + 1)) if gaps.max() > len(peak) / 4 else used


def most_read(shown: list[View], rows: np.ndarray, most: int) -> np.ndarray:
    """Of these rows the `most` that are read (if none reads: written) with the heaviest weights, in their order."""
    told = [v.values for v in shown if v.role != "write"] or [v.values for v in shown]
    if len(rows) <= most:
        return rows
    peak = np.max(told, (0, 2))[rows]
    return rows[np.sort(np.argsort(-peak, kind="stable")[:most])]


def opening(trace: MemoryTrace) -> int:
    """The step to open on: of the questions whose answer had been shown the first wrong one, else the first.

    Without any such question the first that is asked.
    """
    scored = trace.sample.scored
    known = scored & right_steps(trace).any(1) if trace.sample.answer.is_class_label else scored
    correct = trace.decoded.correct
    wrong = known & ~correct if correct is not None else known & False
    for some in (wrong, known, scored):
        if some.any():
            return trace.start + int(some.argmax())
    return trace.start
