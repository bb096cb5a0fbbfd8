"""Measures of a trace: what was written to which location, and from which steps each query read."""

from __future__ import annotations

import numpy as np

from metacli.errors import UsageError
from metacli.inspect.trace import Head, MemoryTrace

ALL = "all"  # in place of a head's name
USED = 0.1  # a location is used where some step writes it with at least this weight


def find_heads(trace: MemoryTrace, head_names: list[str]) -> list[Head]:
    """Returns the heads of these names, in the trace's order; all heads if the list is empty or holds `ALL`.

    Raises:
        UsageError: no such head, or the model has none.
    """
    known_names = [h.name for h in trace.heads]
    if head_names and not known_names:
        raise UsageError(
            f"{trace.model} has no memory, so no head {head_names[0]!r}",
            f"leave --head out; its trace holds {', '.join(name for name in trace.about if name in trace.arrays)}",
        )
    unknown = [name for name in head_names if name not in (*known_names, ALL)]
    if unknown:
        hint = f"its heads: {', '.join(known_names)}; or {ALL}"
        raise UsageError(f"this {trace.model} has no head {unknown[0]!r}", hint)
    return [h for h in trace.heads if not head_names or ALL in head_names or h.name in head_names]


def reading_head_names(trace: MemoryTrace) -> list[str]:
    """Returns the names of the heads of `MemoryTrace.sources`."""
    return [h.name for h in trace.heads if h.role != "write"]


def mask_right_steps(trace: MemoryTrace) -> np.ndarray:
    """Returns (Q, T) bool: the steps that hold the answer to each query.

    In N-way K-shot these are the support examples with the right label. In a stream they are the earlier steps that
    had the right class, or at which its label arrived, which is one step later. All False if answers name no class.
    """
    s, start = trace.sample, trace.start
    right = np.zeros((len(s.x_test), trace.steps), bool)
    if not s.answer.is_class_label:
        return right
    for q, answer in enumerate(s.labels_test):
        if s.mode == "independent":
            right[q, :start] = [label == answer for label in s.labels_train]
        else:
            is_same_class = np.array([label == answer for label in s.labels_test[:q]], bool)
            right[q, :q] = is_same_class
            right[q, 1:q] |= is_same_class[:-1]
    return right


def mask_readable_steps(trace: MemoryTrace) -> np.ndarray:
    """Returns (Q, T) bool: the steps that each query can read from: D_train and, in a sequence, earlier queries."""
    steps = np.arange(trace.steps)[None]
    query_steps = trace.start + np.arange(len(trace.sample.x_test))[:, None]
    return steps < (trace.start if trace.sample.mode == "independent" else query_steps)


def share_on_right_class(trace: MemoryTrace) -> np.ndarray:
    """Returns (Q, reading heads): the share of each head's weight on what the steps of `mask_right_steps` wrote."""
    assert trace.sources is not None
    return np.einsum("qhs,qs->qh", trace.sources[trace.start :], mask_right_steps(trace))


def uniform_baseline(trace: MemoryTrace) -> np.ndarray:
    """Returns (Q,): the share on the right steps of a head that reads all readable steps evenly."""
    return mask_right_steps(trace).sum(1) / np.maximum(mask_readable_steps(trace).sum(1), 1)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Returns the entropy in bits over the last axis of weightings: 0 for one place, log2 n for n equal weights."""
    shares = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30)
    return -(shares * np.log2(np.maximum(shares, 1e-30))).sum(-1).clip(max=0)


def find_written_locations(trace: MemoryTrace) -> np.ndarray:
    """Returns the locations that some step writes with a weight of at least `USED`, sorted; empty without writes."""
    written = [h.weights.max(0) for h in trace.heads if h.role == "write"]
    return np.flatnonzero(np.max(written, 0) >= USED) if written else np.array([], int)


def score_order(weights: np.ndarray) -> float:
    """Returns how closely a head moves by one location per step: 1 for exactly that.

    max over d = 1, -1 of the mean over t of sum_i w_t(i) w_{t+1}(i + d), circular: the overlap of each weighting with
    the next one moved back by one location. NaN for fewer than two steps.

    Args:
        weights: (T, L); a weighting that sums to more than 1 is normalised.
    """
    if len(weights) < 2:
        return float("nan")
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1)
    return max(float((weights[:-1] * np.roll(weights[1:], -d, 1)).sum(1).mean()) for d in (1, -1))


def score_copying(sources: np.ndarray, start: int) -> float:
    """Returns how much of each answer's read lands on the step that it copies.

    This is the mean over k of the share that answer k reads from step k + lag, for the lag from -1 to 2 where it is
    largest: a controller may write a step late.

    Args:
        sources: (T, T) of one head, see `MemoryTrace.sources`.
        start: S.
    """
    answers = np.arange(min(len(sources) - start, start))
    shares = []
    for lag in (-1, 0, 1, 2):
        steps = answers + lag
        inside = (steps >= 0) & (steps < start)
        shares.append(float(sources[start + answers[inside], steps[inside]].mean()) if inside.any() else 0.0)
    return max(shares)


def head_rows(trace: MemoryTrace, head: Head) -> tuple[np.ndarray, list[str]]:
    """Returns the rows of a picture of a head: (rows, T) weights, and a name for each row.

    The rows of a memory head are locations, in N-way K-shot with the label of the support example written there. The
    rows of an attention head are the attended steps. In N-way K-shot, where no query sees another, these are the
    support examples and one row for the step itself. Names count from 1.
    """
    if head.role != "attention":
        labels = _labels_of_locations(trace)
        return head.weights.T, [f"location {i + 1}{f' ({label})' if label else ''}" for i, label in enumerate(labels)]
    names = [f"step {t + 1}{f' ({label})' if (label := label_of_step(trace, t)) else ''}" for t in range(trace.steps)]
    if trace.sample.mode != "independent":
        return head.weights.T, names
    own_weights = head.weights.diagonal()[None]
    other_weights = head.weights - np.diag(own_weights[0])
    return np.concatenate([other_weights[:, : trace.start].T, own_weights]), [*names[: trace.start], "itself"]


def _labels_of_locations(trace: MemoryTrace) -> list[str]:
    """Returns the label of the support example that wrote each location most; '' if none did or tasks are ordered."""
    writes = [h.weights for h in trace.heads if h.role == "write"]
    count = next(h.weights.shape[1] for h in trace.heads if h.role != "attention")
    if trace.sample.mode != "independent" or not writes or not trace.start:
        return [""] * count
    learning = np.max(writes, 0)[: trace.start]
    heaviest = learning.max(0)
    steps = learning.argmax(0).tolist()
    return [label_of_step(trace, t) if w >= USED else "" for t, w in zip(steps, heaviest, strict=True)]


def label_of_step(trace: MemoryTrace, step: int) -> str:
    """Returns the label of a step's support example or the right answer of its query; '' for bits."""
    s = trace.sample
    if not s.answer.label_size or (step < trace.start and not s.labels_train):
        return ""
    return s.labels_train[step] if step < trace.start else s.labels_test[step - trace.start]


def format_answer(trace: MemoryTrace, query: int) -> str:
    """Returns the model's answer to a query as text."""
    decoded, answer = trace.decoded, trace.sample.y_test[query]
    scale = None if decoded.scale is None else decoded.scale[query]
    return trace.sample.answer.format_prediction(decoded.prediction[query], answer, scale)
