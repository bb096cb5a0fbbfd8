"""The work behind the verb `predict`: pictures of new classes from a folder, questions from files, answers as JSON."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metacli.classifier.ensemble import Trained
from metacli.classifier.learner import Learner
from metacli.errors import MetacliError, UsageError
from metacli.system import terminal
from metacli.tasks.images.folder import SUFFIXES
from metacli.tasks.images.preprocess.pictures import opened


class Shown(NamedTuple):
    """A picture and how the model saw it.

    Attributes:
        path: where it was read.
        image: the picture, upright.
        seen: (C, H, W) float32 in [0, 1].
    """

    path: Path
    image: Image.Image
    seen: Tensor


@dataclass(frozen=True)
class Prediction:
    """The answers to some questions.

    Attributes:
        checkpoint: the name of the model.
        orders: how many orders of the examples the answers are the mean of.
        classes: the names, sorted.
        examples: by class, in the order in which they were read.
        questions: those that could be read.
        probabilities: (Q, classes).
        looked_at: (Q, examples) shares, or None.
        errors: (path, what is wrong with it) of each question that could not be answered.
        notes: for the reader, such as what accuracy is unproven with.
    """

    checkpoint: str
    orders: int
    classes: list[str]
    examples: list[tuple[str, Shown]]
    questions: list[Shown]
    probabilities: np.ndarray
    looked_at: np.ndarray | None
    errors: list[tuple[Path, str]]
    notes: list[str]

    def most_looked_at(self, q: int) -> tuple[str, Shown] | None:
        """The example that had the greatest share of the look at question q."""
        return None if self.looked_at is None else self.examples[int(self.looked_at[q].argmax())]

    def as_json(self) -> dict[str, Any]:
        """Plain values; `looked_at` is a path, or null for a model without a memory to look at."""
        predictions = []
        for q, (question, row) in enumerate(zip(self.questions, self.probabilities, strict=True)):
            best, looked = int(row.argmax()), self.most_looked_at(q)
            predictions.append(
                {
                    "query": str(question.path),
                    "label": self.classes[best],
                    "probability": float(row[best]),
                    "probabilities": dict(zip(self.classes, row.tolist(), strict=True)),
                    "looked_at": str(looked[1].path) if looked else None,
                }
            )
        return {
            "checkpoint": self.checkpoint,
            "orders": self.orders,
            "classes": self.classes,
            "predictions": predictions,
            "errors": [{"query": str(path), "message": message} for path, message in self.errors],
        }


def predict(learner: Learner, support: Path, queries: Iterable[Path]) -> Prediction:
    """Teach a learner the classes of a folder, and ask it.

    Args:
        learner: not taught yet.
        support: a folder with a directory for each class, of one or more pictures each.
        queries: picture files, or folders of them.

    Raises:
        UsageError: no such folder, fewer than two classes, a class without a readable picture, more classes than the
            model can tell apart, no questions.
    """
    folders = class_folders(support)
    try:
        model = learner.model_for(len(folders))
        examples, notes = read_support(support, folders, model)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learner.fit_seen(stacked([shown for _, shown in examples], model), [name for name, _ in examples])
    except ValueError as error:
        message = getattr(error, "message", str(error))
        raise UsageError(f"{support}: {message}", getattr(error, "hint", "")) from None
    asked = files(queries)
    if not asked:
        raise UsageError(
            "the folders of --query hold no pictures", f"name files, or folders with {', '.join(SUFFIXES)}"
        )
    questions, errors = look(model, asked)
    probabilities, looked_at = learner.answers_seen(stacked(questions, model))
    notes += [str(warning.message) for warning in caught]
    return Prediction(
        learner.name,
        learner.orders,
        learner.classes_.tolist(),
        examples,
        questions,
        probabilities,
        looked_at,
        errors,
        notes,
    )


def class_folders(root: Path) -> list[Path]:
    """The directory of each class, in the order of their names; raises a UsageError for fewer than two."""
    if not os.path.isdir(root):
        raise UsageError(f"--support {root} is not a folder", "give a folder with one directory of pictures per class")
    found = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = sorted(found, key=lambda path: path.name)
    if len(folders) < 2:
        message = f"{root} holds {len(folders)} director{'y' if len(folders) == 1 else 'ies'} of pictures; two or more"
        raise UsageError(f"{message} are needed", "one directory per class, as in DIR/alpha/1.png, DIR/beta/1.png")
    return folders


def read_support(root: Path, folders: list[Path], model: Trained) -> tuple[list[tuple[str, Shown]], list[str]]:
    """The examples, each with its class, and notes on pictures that show nothing.

    Raises:
        UsageError: a class without a readable picture; all of these are named.
    """
    examples, notes, empty = [], [], []
    for folder in folders:
        shown, faults = look(model, files([folder]))
        examples += [(folder.name, example) for example in shown]
        notes += [f"left out: {message}" for _, message in faults]
        if not shown:
            empty.append(folder.name)
    if empty:
        hint = f"put a picture ({', '.join(SUFFIXES)}) into it, or take it away"
        raise UsageError(f"{root}: no readable picture in {', '.join(empty)}", [hint, *notes[:10]])
    return examples, notes


def files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, and of each folder the pictures directly in it, in the order of their names."""
    found = []
    for path in paths:
        if os.path.isdir(path):
            pictures = (p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            found += sorted((p for p in pictures if not p.name.startswith(".")), key=lambda p: p.name)
        else:
            found.append(path)
    return found


def look(model: Trained, paths: list[Path]) -> tuple[list[Shown], list[tuple[Path, str]]]:
    """Pictures as a model sees them, and what is wrong with files that are none or show nothing."""
    good, bad = [], []
    for path in paths:
        try:
            image = opened(path, str(path))
            good.append(Shown(path, image, model.seen([image])[0]))
        except ValueError as error:
            bad.append((path, str(error)))
        except MetacliError as error:
            bad.append((path, f"{path}: {error.message}"))
    return good, bad


def stacked(shown: list[Shown], model: Trained) -> Tensor:
    """What the model saw of some pictures, (n, C, H, W)."""
    return torch.stack([s.seen for s in shown]) if shown else torch.zeros(0, *model.model.spec.x_shape)


def say(prediction: Prediction) -> None:
    """What the reader should know before the answers, on stderr."""
    shots = Counter(name for name, _ in prediction.examples)
    some = min(shots.values())
    each = str(some) if some == max(shots.values()) else f"{some} to {max(shots.values())}"
    lines = [
        f"model   {prediction.checkpoint}; {len(shots)} classes, pictures of each: {each}",
        f"orders  {prediction.orders}, averaged",
    ]
    lines += [f"warning: {note}" for note in prediction.notes]
    lines += [f"error: {message}" for _, message in prediction.errors]
    terminal.say(*lines)
