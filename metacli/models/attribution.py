"""Attributes each read to the steps that wrote what was read."""

from __future__ import annotations

import numpy as np


def attribute_reads(
    weights: dict[str, list[np.ndarray]],
    retention: np.ndarray | None,
    query_start: int,
    independent: bool,
    reads_first: bool,
) -> np.ndarray | None:
    """Returns (T, heads, T), the share of each read head's weight, at each step, that falls on what each step wrote.

    Attention weights refer to steps directly. Read weights refer to locations. The content of a location is attributed
    to the steps that wrote it: the write weight of each step, times the share that later steps retained. A location
    that was written with a total weight below 1 leaves the rest unattributed, so rows sum to at most 1.
    Returns None without reads.

    Args:
        weights: the weights of each head, by role: `attention` (T, T), `read` and `write` (T, L).
        retention: (T, L), the share of each location that each step retains.
        query_start: S, the step of the first query.
        independent: whether every query reads its own copy of the memory after D_train.
        reads_first: whether a step reads the memory before it writes.
    """
    if weights["attention"]:
        return np.stack(weights["attention"], 1)
    if not weights["read"]:
        return None
    assert retention is not None
    write_weights = np.sum(weights["write"], 0)  # (T, L)
    steps, locations = write_weights.shape
    content_after = np.zeros((steps + 1, locations, steps), np.float32)  # row -1: before the first step
    previous = [min(t, query_start) - 1 if independent else t - 1 for t in range(steps)]
    for t in range(steps):
        content_after[t] = content_after[previous[t]] * retention[t, :, None]
        content_after[t, :, t] += write_weights[t]
    shares = content_after[previous] if reads_first else content_after[:-1]  # (T, L, T)
    shares = shares / np.maximum(shares.sum(2, keepdims=True), 1)
    return np.einsum("tri,tis->trs", np.stack(weights["read"], 1), shares)
