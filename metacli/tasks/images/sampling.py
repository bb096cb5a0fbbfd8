"""Which class and which of its instances comes when: N-way K-shot's two parts, MANN's stream."""

from __future__ import annotations

import numpy as np

from metacli.errors import UsageError
from metacli.tasks.rng import CounterRNG


def shuffled(rng: CounterRNG, ways: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Instances start, ..., stop - 1 of each class in random order: labels and instance numbers, (B, T) each."""
    nth, label = np.divmod(rng.permutation(ways * (stop - start)), ways)
    return label, start + nth


def varied(
    rng: CounterRNG, counts: np.ndarray, fewest: int, seen: int, asked: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Two parts of a task that may use some of its classes only: labels and instance numbers, (B, T) each, of both.

    Half of the tasks use all N classes, the others n of them, n uniform in fewest, ..., N. The first part holds each
    class that is used at least once, what else there is in the two is drawn from all instances of these classes.

    Args:
        rng: of the episodes.
        counts: (B, N) int64, instances of each class; the least `fewest` of them have `seen + asked` together.
        fewest: least number of classes.
        seen: T of the first part, at least N.
        asked: T of the second.
    """
    ways, most = counts.shape[1], counts.max()
    draw = rng.uniform(2)
    some = fewest + (draw[:, 1] * (ways - fewest + 1)).astype(np.int64)
    used = rng.permutation(ways) < np.where(draw[:, 0] < 0.5, ways, some)[:, None]  # (B, N)
    key = rng.uniform(ways, int(most))
    key[:, :, 0] -= 1
    key[~used] = 2
    key[np.arange(most) >= counts[..., None]] = 2
    taken = key.reshape(len(counts), -1).argsort(1)[:, : seen + asked]
    first = np.take_along_axis(taken[:, :seen], rng.permutation(seen), 1)
    (label, nth), (label_asked, nth_asked) = np.divmod(first, most), np.divmod(taken[:, seen:], most)
    return (label, nth), (label_asked, nth_asked)


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


def groups(names: list[str], pool: np.ndarray, ways: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Classes by the group that they belong to, an alphabet or a directory, those turned alike together.

    Args:
        names: of the classes loaded, GROUP/CLASS.
        pool: (P,) class ids of a split, see `Images`.
        ways: N, how many classes a group must have to count.
        split: what an error calls it.

    Returns:
        (P,) the places of the pool, group by group, and (G, 2) where among them a group starts, and its size.

    Raises:
        UsageError: no group is large enough.
    """
    home = np.array([f"{i // len(names)}/{names[i % len(names)].rpartition('/')[0]}" for i in pool.tolist()])
    _, which, size = np.unique(home, return_inverse=True, return_counts=True)
    spans = np.stack([size.cumsum() - size, size], 1)[size >= ways]
    if len(pool) and not len(spans):
        message = f"within: no group of classes of {split} has {ways}, the largest has {size.max()}"
        raise UsageError(message, "lower ways, or leave within out")
    return which.argsort(kind="stable"), spans
