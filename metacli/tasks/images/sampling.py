"""Samples the classes and instances of tasks: N-way K-shot, and MANN's stream."""

from __future__ import annotations

import numpy as np

from metacli.tasks.rng import CounterRNG


def shuffle_instances(rng: CounterRNG, ways: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns instances start, ..., stop - 1 of each class in random order: labels and numbers, (B, T) each."""
    instance, label = np.divmod(rng.permutation(ways * (stop - start)), ways)
    return label, start + instance


def sample_varied_shots(
    rng: CounterRNG, ways: int, shots: np.ndarray, most_shots: int
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Samples D_train with a number of shots for each task.

    Padding consists of further images of the classes, so that batch norm sees no blank images.

    Args:
        rng: random numbers of the episodes.
        ways: N.
        shots: (B,) int64, K of each task.
        most_shots: at least the largest of `shots`; the random numbers depend on it.

    Returns:
        Labels and instance numbers, (B, T) each, T = N max(shots), and the mask (B, T), False at padding.
    """
    label, instance = shuffle_instances(rng, ways, 0, most_shots)
    length = ways * int(shots.max())
    order = (instance >= shots[:, None]).argsort(1, kind="stable")[:, :length]
    mask = np.arange(length) < ways * shots[:, None]
    return (np.take_along_axis(label, order, 1), np.take_along_axis(instance, order, 1)), mask


def sample_varied_ways(
    rng: CounterRNG, counts: np.ndarray, fewest_ways: int, support_size: int, query_size: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Samples D_train and D_test with a varying number of classes: labels and instance numbers, (B, T) each, of both.

    Half of the tasks use all N classes, the others n of them, n uniform in fewest_ways, ..., N. D_train contains each
    used class at least once. All other images are drawn from all images of the used classes.

    Args:
        rng: random numbers of the episodes.
        counts: (B, N) int64, instances of each class; the `fewest_ways` smallest must have support_size + query_size.
        fewest_ways: least number of classes.
        support_size: T of D_train, at least N.
        query_size: T of D_test.
    """
    ways, max_count = counts.shape[1], counts.max()
    uniforms = rng.uniform(2)
    varied_ways = fewest_ways + (uniforms[:, 1] * (ways - fewest_ways + 1)).astype(np.int64)
    is_used = rng.permutation(ways) < np.where(uniforms[:, 0] < 0.5, ways, varied_ways)[:, None]  # (B, N)
    sort_key = rng.uniform(ways, int(max_count))
    sort_key[:, :, 0] -= 1
    sort_key[~is_used] = 2
    sort_key[np.arange(max_count) >= counts[..., None]] = 2
    chosen = sort_key.reshape(len(counts), -1).argsort(1)[:, : support_size + query_size]
    support = np.take_along_axis(chosen[:, :support_size], rng.permutation(support_size), 1)
    return np.divmod(support, max_count), np.divmod(chosen[:, support_size:], max_count)


def sample_stream(rng: CounterRNG, counts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws classes step by step among those with unused instances: labels and instance numbers, (B, T) each."""
    uniforms = rng.uniform(length)
    label = np.empty(uniforms.shape, np.int64)
    instance = np.empty(uniforms.shape, np.int64)
    drawn_count, task_row = np.zeros_like(counts), np.arange(len(counts))
    for t in range(length):
        rank = (drawn_count < counts).cumsum(1)  # (B, N)
        label[:, t] = (rank > (uniforms[:, t] * rank[:, -1]).astype(np.int64)[:, None]).argmax(1)
        instance[:, t] = drawn_count[task_row, label[:, t]]
        drawn_count[task_row, label[:, t]] += 1
    return label, instance


def permute_instances(rng: CounterRNG, counts: np.ndarray, max_count: int) -> np.ndarray:
    """Returns (B, N, max_count) int64: the instances 0, ..., count - 1 of each class in random order, then padding."""
    keys = rng.bits(counts.shape[1], max_count)
    if (counts == max_count).all():
        return keys.argsort(-1)
    keys[np.arange(max_count) >= counts[..., None]] = np.iinfo(np.uint64).max
    return keys.argsort(-1, kind="stable")


def group_classes(names: list[str], pool: np.ndarray, ways: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups classes by their alphabet or directory, separately for each pose.

    Args:
        names: the names of all loaded classes, GROUP/CLASS.
        pool: (P,) class ids of a split, see `Images`.
        ways: N. Groups of fewer classes are left out, unless all groups have fewer.

    Returns:
        (P,) the indices of the pool, sorted by group, and (G, 2) the start of each group among them, and its size.
    """
    group_name = np.array([f"{i // len(names)}/{names[i % len(names)].rpartition('/')[0]}" for i in pool.tolist()])
    _, group_number, group_size = np.unique(group_name, return_inverse=True, return_counts=True)
    is_large = group_size >= ways
    spans = np.stack([group_size.cumsum() - group_size, group_size], 1)[is_large if is_large.any() else slice(None)]
    return group_number.argsort(kind="stable"), spans


def sample_joined_groups(rng: CounterRNG, sizes: np.ndarray, ways: int) -> np.ndarray:
    """Samples classes of as many random groups as needed for N classes.

    Args:
        rng: random numbers of the episodes.
        sizes: (G,) the number of classes of each group.
        ways: N.

    Returns:
        (B, N) numbers of classes, which are counted through all groups, in random order.
    """
    rank = rng.permutation(len(sizes))  # (B, G), the order in which groups are joined
    joined = sizes[rank.argsort(1)].cumsum(1)
    last = (joined < ways).sum(1, keepdims=True)  # the rank of the last group that is needed
    key = rng.uniform(int(sizes.sum()))
    key[np.repeat(rank, sizes, axis=1) > last] = 2
    return key.argsort(1)[:, :ways]
