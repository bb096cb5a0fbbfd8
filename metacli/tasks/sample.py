"""Sample: a single task as NumPy arrays and text, for printing, saving and drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Mode
from metacli.system import outputs
from metacli.tasks.answers import Answer, Symbols
from metacli.tasks.base import Split, Tasks, View


@dataclass(frozen=True)
class Sample:
    """One task without padding. S support examples, Q queries, N classes; see `metacli.episode`.

    Attributes:
        task: the name of p(T).
        split: train, val or test.
        index: the number of the episode in its split.
        mode: see `Spec.mode`.
        view: see `Tasks.view`.
        answer: the kind of answer.
        classes: (N,) names, in the order of their labels; empty without classes.
        x_train: (S, *x_shape) float32.
        y_train: (S, Y) float32, encoded labels.
        x_test: (Q, *x_shape) float32.
        y_test: (Q, C) the correct answers, int64 for label characters, else float32.
        y_previous: (Q, Y) float32, the label that arrives with each item of a stream; else (Q, 0).
        scored: (Q,) bool, whether an answer is scored.
        labels_train: (S,) the labels as text; empty without labels.
        labels_test: (Q,) the correct answers as text.
        labels_previous: (Q,) the label that arrives with each item of a stream, "" with the first; else empty.
        curve: (P, 2) points of the true function, for the view `curve`; else None.
    """

    task: str
    split: str
    index: int
    mode: Mode
    view: View
    answer: Answer
    classes: list[str]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    y_previous: np.ndarray
    scored: np.ndarray
    labels_train: list[str]
    labels_test: list[str]
    labels_previous: list[str]
    curve: np.ndarray | None = None

    @property
    def title(self) -> str:
        """A one-line title, as in `strokes, test split, task 3: 5-way 1-shot`."""
        support_size, query_count = len(self.x_train), int(self.scored.sum())
        answer = self.answer
        ways = answer.choices if isinstance(answer, Symbols) and answer.components == 1 else len(self.classes)
        n_way = f"{ways}-way {support_size // ways}-shot" if ways else ""
        by_mode = {
            "independent": n_way or f"{support_size} support examples, {query_count} queries",
            "stream": f"stream of {len(self.x_test)} queries" + (f", {ways} classes" if ways else ""),
            "sequence": f"{support_size} steps in, {query_count} answers",
        }
        return f"{self.task}, {self.split} split, task {self.index}: {by_mode[self.mode]}"

    @property
    def legend(self) -> list[tuple[str, str]]:
        """(label, class name) of each class; empty for string labels and without classes."""
        has_numbers = self.answer.is_class_label and self.answer.components == 1
        return [(str(i), name) for i, name in enumerate(self.classes)] if has_numbers else []


def collect_samples(tasks: Tasks, split: Split, count: int, first: int = 0) -> list[Sample]:
    """Returns episodes first, ..., first + count - 1 of a split as samples."""
    episode = tasks.batch(split, first, count)
    return [extract_sample(tasks, split, episode, b) for b in range(len(episode))]


def extract_sample(tasks: Tasks, split: Split, episode: Episode, row: int) -> Sample:
    """Returns task `row` of a batch without padding."""
    support_steps = slice(0, _unpadded_length(episode.mask_train, row, episode.x_train.shape[1]))
    query_steps = slice(0, _unpadded_length(episode.mask_test, row, episode.x_test.shape[1]))
    x_test, y_test = _to_numpy(episode.x_test[row, query_steps]), _to_numpy(episode.y_test[row, query_steps])
    y_train, arriving = _to_numpy(episode.y_train[row, support_steps]), episode.y_previous
    y_previous = np.zeros((len(x_test), 0), np.float32) if arriving is None else _to_numpy(arriving[row, query_steps])
    index, answer, mask_test = int(episode.index[row]), tasks.answer, episode.mask_test
    # As logits, a label is one-hot.
    labels = [
        [] if y is None else answer.format_labels(_to_numpy(answer.logits(y, episode.label_vectors)[row]))
        for y in (episode.y_train, arriving)
    ]
    curves = tasks.curves(split, index, 1)
    return Sample(
        task=tasks.config.name,
        split=split,
        index=index,
        mode=tasks.spec.mode,
        view=tasks.view,
        answer=answer,
        classes=[] if episode.classes is None else tasks.class_names(episode.classes[row]),
        x_train=_to_numpy(episode.x_train[row, support_steps]),
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        y_previous=y_previous,
        scored=np.ones(len(x_test), bool) if mask_test is None else _to_numpy(mask_test[row, query_steps]),
        labels_train=labels[0][support_steps] if answer.label_size else [],
        labels_test=[answer.format_answer(value) for value in y_test],
        labels_previous=labels[1][query_steps] if arriving is not None else [],
        curve=None if curves is None else curves[0],
    )


def save_npz(path: str | Path, samples: list[Sample]) -> None:
    """Writes the arrays of n samples in NumPy's npz format.

    `x_train` (n, S, *x_shape), `y_train` (n, S, Y), `x_test`, `y_test`, `y_previous` (n, Q, ...) as in `Sample`, padded
    with zeros to the longest; `mask_train` (n, S), False at padding; `mask_test` (n, Q), True where an answer is
    scored; `index` (n,); `classes` (n, N) names.

    Raises:
        MetacliError: the file cannot be written.
    """
    arrays = {
        k: _stack_padded([getattr(s, k) for s in samples])
        for k in ("x_train", "y_train", "x_test", "y_test", "y_previous")
    }
    arrays["mask_train"] = _stack_padded([np.ones(len(s.x_train), bool) for s in samples])
    arrays["mask_test"] = _stack_padded([s.scored for s in samples])
    arrays["index"] = np.array([s.index for s in samples])
    arrays["classes"] = np.array([s.classes for s in samples], dtype=str)
    outputs.write_arrays(path, arrays)


def as_json(samples: list[Sample]) -> list[dict[str, Any]]:
    """Returns each sample as plain values: labels as text, vectors and bits as numbers, images as their shape only."""
    return [_sample_as_json(s) for s in samples]


def _sample_as_json(s: Sample) -> dict[str, Any]:
    uses_words, answers = s.answer.is_class_label, s.y_train[:, : s.answer.components]
    train: dict[str, Any] = {"items": len(s.x_train), "labels": s.labels_train if uses_words else answers.tolist()}
    test: dict[str, Any] = {"items": len(s.x_test), "answers": s.labels_test if uses_words else s.y_test.tolist()}
    if s.mode == "stream":
        test["labels_previous"] = s.labels_previous
    if s.view != "images":
        train["x"] = s.x_train.tolist()
        test |= {"x": s.x_test.tolist(), "scored": s.scored.tolist()}
    header = {"task": s.task, "split": s.split, "index": s.index, "mode": s.mode, "classes": s.classes}
    return {**header, "x_shape": list(s.x_test.shape[1:]), "d_train": train, "d_test": test}


def _to_numpy(x: Tensor) -> np.ndarray:
    detached = x.detach().cpu()
    return (detached.float() if detached.is_floating_point() else detached).numpy()


def _unpadded_length(mask: Tensor | None, row: int, length: int) -> int:
    """Returns the length of a row without padding at its end, or `length` without a mask."""
    if mask is None:
        return length
    indices = mask[row].nonzero()
    return int(indices[-1]) + 1 if len(indices) else 0


def _stack_padded(arrays: list[np.ndarray]) -> np.ndarray:
    longest = max(len(a) for a in arrays)
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked
