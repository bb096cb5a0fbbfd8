"""Which class and which of its instances comes when: N-way K-shot's two parts, MANN's stream."""

from __future__ import annotations

import numpy as np

from metacli.tasks.rng import CounterRNG


def shuffled(rng: CounterRNG, ways: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Instances start, ..., stop - 1 of each class in random order: labels and instance numbers, (B, T) each."""
    nth, label = np.divmod(rng.permutation(ways * (stop - start)), ways)
    return label, start + nth


def streamed(rng: CounterRNG, counts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn one by one, uniformly among those with an instance left: labels, instance numbers, (B, T) each."""
    draw = rng.uniform(length)
    label = np.empty(draw.shape, np.int64)
    nth = np.empty(draw.shape, np.int64)
    seen, rows = np.zeros_like(counts), np.arange(len(counts))
    for t in range(length):
        rank = (seen < counts).cumsum(1)  # (B, N)
        label[:, t] = (rank > (draw[:, t] * rank[:, -1]).astype(np.int64)[:, None]).argmax(1)
        nth[:, t] = seen[rows, label[:, t]]
        seen[rows, label[:, t]] += 1
    return label, nth


def instances(rng: CounterRNG, counts: np.ndarray, most: int) -> np.ndarray:
    """(B, N, most) int64: the instances 0, ..., count - 1 of each class in random order, then padding."""
    keys = rng.bits(counts.shape[1], most)
    if (counts == most).all():
        return keys.argsort(-1)
    keys[np.arange(most) >= counts[..., None]] = np.iinfo(np.uint64).max
    return keys.argsort(-1, kind="stable")
