"""A trained model that can classify new classes, loaded from a checkpoint."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metacli.checkpoints import checkpoint
from metacli.errors import UsageError
from metacli.models.base import MetaLearner
from metacli.registry import TASKS, resolve
from metacli.tasks.answers import EmbeddedLabels, Symbols
from metacli.tasks.images.preprocess.prepare import resize_images

MAX_SUPPORT = 1000  # support examples; the memory that attention needs grows with their square


@dataclass(frozen=True)
class FewShotModel:
    """A trained model that can classify new classes.

    Attributes:
        path: path of its checkpoint.
        model: the model, in eval mode, on the CPU.
        task: the config of the task distribution that it was trained on.
        answer: the kind of answer: how classes are labelled.
        prepare: whether images are cropped and redrawn for a model that was trained with `task.prepare`.
        invert: whether images have dark ink on light paper; None to detect it, see `Images.preprocess`.
    """

    path: Path
    model: MetaLearner
    task: Any
    answer: Symbols
    prepare: bool = True
    invert: bool | None = None

    @property
    def ways(self) -> int:
        """The largest number of classes that the model supports. Embedded labels serve any number."""
        return MAX_SUPPORT if isinstance(self.answer, EmbeddedLabels) else self.answer.choices

    @property
    def reads_images(self) -> bool:
        """Whether its inputs are images rather than vectors."""
        return len(self.model.spec.x_shape) == 3

    @property
    def prepares(self) -> bool:
        """Whether `preprocess` crops and redraws the images."""
        return self.prepare and bool(getattr(self.task, "prepare", False))

    def preprocess(self, images: list[Image.Image]) -> Tensor:
        """Returns images as the model reads them, (M, *x_shape) float32 in [0, 1].

        Raises:
            MetacliError: an image is empty.
        """
        if self.prepares or not getattr(self.task, "prepare", False):
            preprocess = resolve(TASKS, self.task.name, "task").preprocess
            pixels = preprocess(self.task, images, *[] if self.invert is None else [self.invert])
        else:
            pixels = resize_images(images, self.task.size, self.invert)
        return torch.from_numpy(pixels).to(torch.float32).div_(255)

    def untested_support_warning(self, counts: np.ndarray) -> str:
        """Returns a warning if a support set is unlike those of training, otherwise ''.

        Args:
            counts: (classes,) the number of support examples of each class.
        """
        task, largest, ways = self.task, int(counts.max()), self.answer.choices  # of training
        shots, fewest_ways = getattr(task, "shots", 1), getattr(task, "fewest_ways", 0) or ways
        trained, actual = [], []
        if not fewest_ways <= len(counts) <= ways:
            trained.append(f"{fewest_ways}{f' to {ways}' * (fewest_ways < ways)} classes")
            actual.append(f"{len(counts)} classes")
        if counts.sum() > ways * shots:
            trained.append(f"at most {ways * shots} support examples")
            actual.append(f"{counts.sum()}")
        elif fewest_ways == ways and largest > shots:
            trained.append(f"{shots} support example{'s' * (shots > 1)} of each class")
            actual.append(f"up to {largest}")
        if not trained:
            return ""
        given = f"You gave {' and '.join(actual)}, so accuracy may be lower."
        return f"This model was trained on {' and '.join(trained)}. {given}"


def load_few_shot_model(path: Path) -> FewShotModel:
    """Loads the model of a checkpoint file or run directory. Cached until the file changes.

    Raises:
        MetacliError: the checkpoint cannot be read.
        UsageError: the model was not trained on N-way K-shot tasks.
    """
    file = checkpoint.find_file(path)
    status = os.stat(file) if os.path.isfile(file) else None
    return _load_cached(file, status and (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=8)
def _load_cached(path: Path, version: object) -> FewShotModel:
    saved = checkpoint.load(path)
    model: Any = saved.build_model()
    spec = model.spec
    task_class = resolve(TASKS, saved.recipe.task.name, "task")
    answer = task_class.answer_of(saved.recipe.task)
    if spec.mode != "independent" or not isinstance(answer, Symbols) or answer.components > 1:
        raise UsageError(
            f"{path} is not a few-shot classifier: it was trained on {saved.recipe.task.name} in mode {spec.mode}",
            "use a model trained on N-way K-shot tasks with class labels; list bundled ones: metacli models",
        )
    if len(spec.x_shape) == 3 and not hasattr(task_class, "preprocess"):
        raise UsageError(
            f"{path}: the task distribution {saved.recipe.task.name} has no method preprocess for user images",
            "add a method like Images.preprocess in metacli/tasks/images/base.py",
        )
    return FewShotModel(path, model, saved.recipe.task, answer)
