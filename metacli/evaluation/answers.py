"""Which class was answered for which, in each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.tasks.answers import Answer
from metacli.tasks.base import Split, Tasks

MOST_CLASSES = 40  # of a matrix; with more, neither its names nor its numbers can be read


@dataclass(frozen=True)
class ConfusionMatrix:
    """How often each class was answered for each class.

    Attributes:
        classes: N names, sorted.
        counts: (N, N) int64; rows are right classes, columns are answers.
    """

    classes: list[str]
    counts: np.ndarray


def count_answers(logits: Tensor, episode: Episode, answer: Answer) -> np.ndarray | None:
    """Returns the answers to a batch of tasks, (k, 4) int64: number of the task, right and answered class id, count.

    None if an answer is not the label of one of the tasks' classes.

    Args:
        logits: (B, Q, O).
    """
    classes = episode.classes
    if classes is None or not answer.is_class_label or answer.components > 1 or classes.shape[1] != logits.shape[-1]:
        return None
    labels = torch.stack([episode.y_test[..., 0], logits.argmax(-1)], -1)  # (B, Q, 2): right, answered
    pairs = classes.gather(1, labels.flatten(1)).view_as(labels)
    rows = torch.cat([episode.index[:, None, None].expand(*pairs.shape[:2], 1), pairs], -1)  # (B, Q, 3)
    rows = rows.flatten(0, 1) if episode.mask_test is None else rows[episode.mask_test]
    unique, counts = np.unique(rows.cpu().numpy(), axis=0, return_counts=True)
    return np.column_stack([unique, counts])


def join_counts(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Returns several results of `count_answers`, of different tasks, as one; None if one is None."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def check_classes_recur(tasks: Tasks, split: Split) -> None:
    """Raises a UsageError, with the reason, if tasks of a split have no confusion matrix."""
    name = tasks.config.name
    if not tasks.answer.is_class_label or tasks.answer.components > 1:
        raise UsageError(f"--png draws a confusion matrix, but an answer of {name} is not the label of a class")
    classes = tasks.class_digests(split)
    if not classes:
        raise UsageError(f"--png draws a confusion matrix, but {name} generates new classes for every task")
    if len(classes) > MOST_CLASSES:
        raise UsageError(
            f"--png draws a confusion matrix of at most {MOST_CLASSES} classes; this split has {len(classes):,}",
            "name a split or a folder with fewer classes",
        )


def confusion_matrix(counts: np.ndarray, tasks: Tasks) -> ConfusionMatrix:
    """Returns the confusion matrix of `Scores.answers`. A rotated or mirrored class is a class of its own."""
    ids = np.unique(counts[:, 1:3])
    names = dict(zip(ids.tolist(), tasks.class_names(torch.from_numpy(ids)), strict=True))
    order = sorted(ids.tolist(), key=lambda i: names[i])
    place = {class_id: i for i, class_id in enumerate(order)}
    matrix = np.zeros((len(order), len(order)), np.int64)
    for _, right, answered, count in counts.tolist():
        matrix[place[right], place[answered]] += count
    return ConfusionMatrix([names[i] for i in order], matrix)
