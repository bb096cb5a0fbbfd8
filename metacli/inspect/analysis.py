"""What a trace says in words and numbers: what was written where, from which steps each question read."""

from __future__ import annotations

import numpy as np

from metacli.errors import UsageError
from metacli.inspect.trace import Head, MemoryTrace

ALL = "all"  # in place of a head's name
USED = 0.1  # a location is used where some step writes it with at least this weight


def choose(trace: MemoryTrace, wanted: list[str]) -> list[Head]:
    """The heads of these names, in the trace's order; all of them for an empty list or one with `ALL`.

    Raises:
        UsageError: no such head, or the model has none.
    """
    known = [h.name for h in trace.heads]
    if wanted and not known:
        raise UsageError(
            f"{trace.model} has no memory, so no head {wanted[0]!r}",
            f"its trace holds {', '.join(name for name in trace.about if name in trace.arrays)}; leave --head out",
        )
    unknown = [name for name in wanted if name not in (*known, ALL)]
    if unknown:
        raise UsageError(f"no head {unknown[0]!r} in this {trace.model}", f"its heads: {', '.join(known)}; or {ALL}")
    return [h for h in trace.heads if not wanted or ALL in wanted or h.name in wanted]


def reading_heads(trace: MemoryTrace) -> list[str]:
    """The names of the heads of `MemoryTrace.sources`."""
    return [h.name for h in trace.heads if h.role != "write"]


def right_steps(trace: MemoryTrace) -> np.ndarray:
    """(Q, T) bool: the steps that could tell a question's answer.

    K-shot: the items of D_train with the right label. Stream: the earlier steps that showed the right class, or
    brought its label, which comes one step late. All False where answers name no class.
    """
    s, start = trace.sample, trace.start
    right = np.zeros((len(s.x_test), trace.steps), bool)
    if not s.answer.is_class_label:
        return right
    for q, answer in enumerate(s.labels_test):
        if s.mode == "independent":
            right[q, :start] = [label == answer for label in s.labels_train]
        else:
            shown = np.array([label == answer for label in s.labels_test[:q]], bool)
            right[q, :q] = shown
            right[q, 1:q] |= shown[:-1]
    return right


def readable(trace: MemoryTrace) -> np.ndarray:
    """(Q, T) bool: the steps that a question could read from: D_train, and in order also the questions before."""
    steps = np.arange(trace.steps)[None]
    question = trace.start + np.arange(len(trace.sample.x_test))[:, None]
    return steps < (trace.start if trace.sample.mode == "independent" else question)


def on_right_class(trace: MemoryTrace) -> np.ndarray:
    """(Q, reading heads) the share of each head's weight on what `right_steps` wrote."""
    assert trace.sources is not None
    return np.einsum("qhs,qs->qh", trace.sources[trace.start :], right_steps(trace))


def uniform_baseline(trace: MemoryTrace) -> np.ndarray:
    """(Q,) the share on the right steps if a head's weight were spread evenly over all readable ones."""
    return right_steps(trace).sum(1) / np.maximum(readable(trace).sum(1), 1)


def entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy in bits over the last axis of weightings, taken as shares: 0 for one place, log2 n for all n alike."""
    shares = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30)
    return -(shares * np.log2(np.maximum(shares, 1e-30))).sum(-1).clip(max=0)


def used_locations(trace: MemoryTrace) -> np.ndarray:
    """The locations that some step writes with a weight of at least `USED`, in order; empty without writes."""
    written = [h.weights.max(0) for h in trace.heads if h.role == "write"]
    return np.flatnonzero(np.max(written, 0) >= USED) if written else np.array([], int)


def in_order(weights: np.ndarray) -> float:
    """How close a path over locations is to one location per step, in order: 1 is exactly that.

    max over d = 1, -1 of the mean over t of sum_i w_t(i) w_{t+1}(i + d), circular: the overlap of each weighting with
    the next one moved back by one location. NaN for fewer than two steps.

    Args:
        weights: (T, L); one that sums to more than 1 is taken as shares.
    """
    if len(weights) < 2:
        return float("nan")
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1)
    return max(float((weights[:-1] * np.roll(weights[1:], -d, 1)).sum(1).mean()) for d in (1, -1))


def follows(sources: np.ndarray, start: int) -> float:
    """How much of each answer's read lands on the step to be copied: the mean over k of the share that answer k has
    from step k + lag, for the lag from -1 to 2 where it is largest (a controller may write a step late).

    Args:
        sources: (T, T) of one head, see `MemoryTrace.sources`.
        start: S.
    """
    questions = np.arange(min(len(sources) - start, start))
    shares = []
    for lag in (-1, 0, 1, 2):
        steps = questions + lag
        inside = (steps >= 0) & (steps < start)
        shares.append(float(sources[start + questions[inside], steps[inside]].mean()) if inside.any() else 0.0)
    return max(shares)


def places(trace: MemoryTrace, head: Head) -> tuple[np.ndarray, list[str]]:
    """What a picture of a head has as its rows: (rows, T) weights, and a name for each.

    Locations as they are, in K-shot with the label of the item that was written there. Steps that attention looked
    at: where every question stands alone (K-shot), the items of D_train and one row for the step itself, as no
    question sees another.
    """
    if head.role != "attention":
        labels = _written_labels(trace)
        return head.weights.T, [f"location {i}{f' ({label})' if label else ''}" for i, label in enumerate(labels)]
    names = [f"step {t}{f' ({label})' if (label := step_label(trace, t)) else ''}" for t in range(trace.steps)]
    if trace.sample.mode != "independent":
        return head.weights.T, names
    own = head.weights.diagonal()[None]
    others = head.weights - np.diag(own[0])
    return np.concatenate([others[:, : trace.start].T, own]), [*names[: trace.start], "itself"]


def _written_labels(trace: MemoryTrace) -> list[str]:
    """Of each location the label of the item of D_train that wrote it most; '' where none did, and in order."""
    writes = [h.weights for h in trace.heads if h.role == "write"]
    count = next(h.weights.shape[1] for h in trace.heads if h.role != "attention")
    if trace.sample.mode != "independent" or not writes or not trace.start:
        return [""] * count
    learning = np.max(writes, 0)[: trace.start]
    heaviest = learning.max(0)
    return [step_label(trace, int(t)) if w >= USED else "" for t, w in zip(learning.argmax(0), heaviest, strict=True)]


def step_label(trace: MemoryTrace, step: int) -> str:
    """What a step shows, in a word: the label of an item or its right answer; '' for bits."""
    s = trace.sample
    if not s.answer.label_size or (step < trace.start and not s.labels_train):
        return ""
    return s.labels_train[step] if step < trace.start else s.labels_test[step - trace.start]


def answer_word(trace: MemoryTrace, question: int) -> str:
    """The model's answer as a person writes it."""
    return trace.sample.answer.format_prediction(trace.arrays["prediction"][question], trace.sample.y_test[question])
