"""From which steps a read comes: through what was written to a location, and what later steps kept of it."""

from __future__ import annotations

import numpy as np


def attribute_reads(
    weights: dict[str, list[np.ndarray]],
    retention: np.ndarray | None,
    start: int,
    apart: bool,
    reads_first: bool,
) -> np.ndarray | None:
    """(T, heads, T) the share of each reading head's weight, at each step, that lands on what each step wrote.

    Attention looks at the steps themselves. A read looks at locations, whose content came from the steps that wrote
    them: a location owes a step the weight that it wrote there, times what later steps kept of it; one written with
    less than a full weight in all owes the rest to nothing. So rows sum to 1 at most. None without reads.

    Args:
        weights: of each head, by role: `attention` (T, T), `read` and `write` (T, L).
        retention: (T, L), what each step keeps of each location.
        start: S, the step of the first question.
        apart: whether every question has a memory of its own, as D_train left it.
        reads_first: whether a step reads the memory as it was before the step wrote.
    """
    if weights["attention"]:
        return np.stack(weights["attention"], 1)
    if not weights["read"]:
        return None
    assert retention is not None
    written = np.sum(weights["write"], 0)  # (T, L)
    steps, places = written.shape
    after = np.zeros((steps + 1, places, steps), np.float32)  # row -1: before the first step
    before = [min(t, start) - 1 if apart else t - 1 for t in range(steps)]
    for t in range(steps):
        after[t] = after[before[t]] * retention[t, :, None]
        after[t, :, t] += written[t]
    owed = after[before] if reads_first else after[:-1]  # (T, L, T)
    owed = owed / np.maximum(owed.sum(2, keepdims=True), 1)
    return np.einsum("tri,tis->trs", np.stack(weights["read"], 1), owed)
