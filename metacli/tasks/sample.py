"""Samples: single tasks as plain arrays and words, for people, files and pictures."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Mode
from metacli.system import files
from metacli.tasks.answers import Answer
from metacli.tasks.base import Split, Tasks, View


@dataclass(frozen=True)
class Sample:
    """One task, its padding removed. S items of D_train, Q of D_test, N classes; see `metacli.episode`.

    Attributes:
        task: the name of p(T).
        split: train, val or test.
        index: the number of the episode in its split.
        mode: how D_test is asked.
        view: how it is drawn; see `Tasks.view`.
        answer: what an answer is.
        classes: (N,) names, in the order of their labels; empty without classes.
        x_train: (S, *x_shape) float32.
        y_train: (S, Y) float32, as the model reads it.
        x_test: (Q, *x_shape) float32.
        y_test: (Q, C) the right answers, int64 for label characters, else float32.
        y_previous: (Q, Y) float32 in a stream, else (Q, 0): the label that arrives with each item.
        scored: (Q,) bool, whether an answer is asked for.
        labels_train: (S,) the labels as words; empty where items carry none.
        labels_test: (Q,) the right answers as words.
        labels_previous: (Q,) what arrives with each item of a stream, "" with the first; else empty.
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
        """The task in one line, as in `strokes, test split, task 3: 5-way 1-shot`."""
        shown, asked = len(self.x_train), int(self.scored.sum())
        ways = self.answer.size if self.answer.names_class and self.answer.parts == 1 else len(self.classes)
        kinds = {
            "independent": f"{ways}-way {shown // ways}-shot" if ways else f"{shown} examples, {asked} questions",
            "stream": f"stream of {len(self.x_test)} items, {ways} classes",
            "sequence": f"{shown} steps in, {asked} answers",
        }
        return f"{self.task}, {self.split} split, task {self.index}: {kinds[self.mode]}"

    @property
    def legend(self) -> list[tuple[str, str]]:
        """(label, class name) of each class; empty where labels are strings of letters or there are no classes."""
        plain = self.answer.names_class and self.answer.parts == 1
        return [(str(i), name) for i, name in enumerate(self.classes)] if plain else []


def collect(tasks: Tasks, split: Split, count: int, first: int = 0) -> list[Sample]:
    """Episodes first, ..., first + count - 1 of a split."""
    episode = tasks.batch(split, first, count)
    return [one(tasks, split, episode, b) for b in range(len(episode))]


def one(tasks: Tasks, split: Split, episode: Episode, row: int) -> Sample:
    """Task `row` of a batch, its padding removed."""
    real = slice(0, _last(episode.mask_train, row, episode.x_train.shape[1]))
    asked = slice(0, _last(episode.mask_test, row, episode.x_test.shape[1]))
    x_test, y_test = _array(episode.x_test[row, asked]), _array(episode.y_test[row, asked])
    y_train, late = _array(episode.y_train[row, real]), episode.y_previous
    y_previous = np.zeros((len(x_test), 0), np.float32) if late is None else _array(late[row, asked])
    index, answer = int(episode.index[row]), tasks.answer
    curves = tasks.curves(split, index, 1)
    return Sample(
        task=tasks.config.name,
        split=split,
        index=index,
        mode=tasks.spec.mode,
        view=tasks.view,
        answer=answer,
        classes=[] if episode.classes is None else tasks.class_names(episode.classes[row]),
        x_train=_array(episode.x_train[row, real]),
        y_train=y_train,
        x_test=x_test,
        y_test=y_test,
        y_previous=y_previous,
        scored=np.ones(len(x_test), bool) if episode.mask_test is None else _array(episode.mask_test[row, asked]),
        labels_train=answer.read(y_train) if answer.label_size else [],
        labels_test=[answer.word(value) for value in y_test],
        labels_previous=answer.read(y_previous) if late is not None else [],
        curve=None if curves is None else curves[0],
    )


def save_npz(path: str | Path, samples: list[Sample]) -> None:
    """Write the arrays of n samples, loadable with NumPy alone.

    `x_train` (n, S, *x_shape), `y_train` (n, S, Y), `x_test`, `y_test`, `y_previous` (n, Q, ...) as in `Sample`, padded
    with zeros to the longest; `mask_train` (n, S) and `mask_test` (n, Q): True where an item is real and, in D_test,
    an answer is asked for; `index` (n,); `classes` (n, N) names.

    Raises:
        MetacliError: the file cannot be written.
    """
    arrays = {
        k: _stack([getattr(s, k) for s in samples]) for k in ("x_train", "y_train", "x_test", "y_test", "y_previous")
    }
    arrays["mask_train"] = _stack([np.ones(len(s.x_train), bool) for s in samples])
    arrays["mask_test"] = _stack([s.scored for s in samples])
    arrays["index"] = np.array([s.index for s in samples])
    arrays["classes"] = np.array([s.classes for s in samples], dtype=str)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    files.write(path, packed.getbuffer())


def as_json(samples: list[Sample]) -> list[dict[str, Any]]:
    """Each sample as plain values: labels as words, vectors and bits as numbers; of images only the shape."""
    return [_plain(s) for s in samples]


def _plain(s: Sample) -> dict[str, Any]:
    words, given = s.answer.names_class, s.y_train[:, : s.answer.parts]
    train: dict[str, Any] = {"items": len(s.x_train), "labels": s.labels_train if words else given.tolist()}
    test: dict[str, Any] = {"items": len(s.x_test), "answers": s.labels_test if words else s.y_test.tolist()}
    if s.mode == "stream":
        test["labels_previous"] = s.labels_previous
    if s.view != "images":
        train["x"] = s.x_train.tolist()
        test |= {"x": s.x_test.tolist(), "scored": s.scored.tolist()}
    named = {"task": s.task, "split": s.split, "index": s.index, "mode": s.mode, "classes": s.classes}
    return {**named, "x_shape": list(s.x_test.shape[1:]), "d_train": train, "d_test": test}


def _array(x: Tensor) -> np.ndarray:
    kept = x.detach().cpu()
    return (kept.float() if kept.is_floating_point() else kept).numpy()


def _last(mask: Tensor | None, row: int, length: int) -> int:
    """One past the last True."""
    if mask is None:
        return length
    places = mask[row].nonzero()
    return int(places[-1]) + 1 if len(places) else 0


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    longest = max(len(a) for a in arrays)
    full = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(full, arrays, strict=True):
        row[: len(array)] = array
    return full
