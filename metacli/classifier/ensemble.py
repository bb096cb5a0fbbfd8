"""What stands behind a learner: a trained model, and a lesson, its phi of a person's own examples in several orders."""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from metacli.checkpoints import checkpoint
from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.models.attribution import sources
from metacli.models.base import MetaLearner
from metacli.models.trace import Trace
from metacli.registry import TASKS, resolve
from metacli.tasks.answers import Symbols
from metacli.tasks.images import augment
from metacli.tasks.images.config import ImageConfig
from metacli.tasks.rng import CounterRNG

AT_ONCE = 512  # questions times orders in one pass
MOST = 1000  # examples of a lesson: attention takes memory by their square
VIEW = 1.0  # how far pictures are moved from order to order, as a share of what training did


@dataclass(frozen=True)
class Trained:
    """A model that can be taught a person's own classes.

    Attributes:
        path: of its checkpoint.
        model: in eval mode, on the CPU.
        task: the config of the tasks that it was trained on.
    """

    path: Path
    model: MetaLearner
    task: Any

    @property
    def ways(self) -> int:
        """The most classes that it tells apart."""
        return self.model.spec.out_size

    @property
    def shows_images(self) -> bool:
        """Whether it reads images, not vectors."""
        return len(self.model.spec.x_shape) == 3

    def seen(self, pictures: list[Image.Image]) -> Tensor:
        """Pictures as the model reads them, (M, *x_shape) float32 in [0, 1]; raises a MetacliError for an empty one."""
        bytes_ = resolve(TASKS, self.task.name, "task").seen(self.task, pictures)
        return torch.from_numpy(bytes_).to(torch.float32).div_(255)

    def doubts(self, counts: np.ndarray) -> str:
        """Why the model's accuracy with so many examples (classes,) of each class is unproven, or ''."""
        t, most, ways = self.task, int(counts.max()), self.ways
        shots, fewest = getattr(t, "shots", 1), getattr(t, "fewest_ways", 0) or ways
        found = []
        if len(counts) < fewest:
            found.append(f"{len(counts)} classes (trained on {fewest}{f' to {ways}' * (fewest < ways)})")
        if counts.sum() > ways * shots or (fewest == ways and most > shots):
            found.append(f"{counts.sum()} examples, up to {most} of a class (trained on {ways * shots} in all)")
        return f"accuracy is unproven with {' and '.join(found)}" if found else ""


def trained(path: Path) -> Trained:
    """The model of a checkpoint file or run directory, read once as long as the file stays what it is.

    Raises:
        MetacliError: it cannot be read.
        UsageError: it was not trained on N-way K-shot tasks.
    """
    file = checkpoint.file_of(path)
    stamp = os.stat(file) if os.path.isfile(file) else None
    return _trained(file, stamp and (stamp.st_mtime_ns, stamp.st_size, stamp.st_ino))


@lru_cache(maxsize=8)
def _trained(path: Path, stamp: object) -> Trained:
    saved = checkpoint.load(path)
    model: Any = saved.build_model()
    spec = model.spec
    tasks = resolve(TASKS, saved.recipe.task.name, "task")
    answer = tasks.answer_of(saved.recipe.task)
    if spec.mode != "independent" or not isinstance(answer, Symbols) or answer.label_size != spec.out_size:
        raise UsageError(
            f"{path}: trained on {saved.recipe.task.name} asked as {spec.mode!r}, which teaches no classes",
            "take a model of N-way K-shot tasks with labels: one-hot",
        )
    if len(spec.x_shape) == 3 and not hasattr(tasks, "seen"):
        raise UsageError(
            f"{path}: {saved.recipe.task.name} does not say how it shows a person's own picture",
            "give the class a method as ImageTasks.seen in metacli/tasks/images/base.py",
        )
    return Trained(path, model, saved.recipe.task)


class Answers(NamedTuple):
    """What a model says of Q questions.

    Attributes:
        probabilities: (Q, N) float64, rows that sum to 1; 0 for a class that was not shown.
        looked_at: (Q, S) float64, the share of the model's look on each example, the mean over its reading heads; rows
            sum to 1. None where it was not asked for, or the model has no memory to look at.
    """

    probabilities: np.ndarray
    looked_at: np.ndarray | None


class View(NamedTuple):
    """How the pictures of each of M orders are moved: the first not at all, the others a little, as in training.

    Attributes:
        origin: (M, 2, 2), see `metacli.tasks.images.augment.turns`.
        shift: (M, 2) in pixels.
    """

    origin: np.ndarray
    shift: np.ndarray

    @classmethod
    def draw(cls, rng: CounterRNG, trained: Trained) -> View | None:
        """At random; None for a model that was not trained on moved pictures."""
        t = trained.task
        if not isinstance(t, ImageConfig) or not (t.rotation or t.shift or t.stretch > 1 or t.slant):
            return None
        draw = VIEW * (2 * rng.uniform(6) - 1)
        draw[0] = 0
        lean = augment.leans(t.stretch ** draw[:, 1:3], np.radians(t.slant) * draw[:, 3])
        return cls(lean @ augment.turns(np.radians(t.rotation) * draw[:, 0]), t.shift * draw[:, 4:])

    def of(self, x: Tensor) -> Tensor:
        """Pictures x (M, n, C, H, W), moved."""
        each = x.shape[1]
        flat = x.reshape(-1, *x.shape[2:])
        return augment.move(flat, self.origin.repeat(each, 0), self.shift.repeat(each, 0)).view(x.shape)


@dataclass(frozen=True)
class FittedContext:
    """phi of examples of new classes, read in M random orders; a label stands for another class in each.

    Attributes:
        trained: the model.
        rng: of the orders, M episodes.
        views: how pictures are moved in each order, those of the examples and those of the questions.
        slots: (M, N) int64, which label stands for each class.
        order: (M, S) int64, the examples as they were read.
        x: (M, S, *x_shape), the examples in that order, moved a little.
        y: (S,) int64, the class of each example.
        phi: of first dimension M.
    """

    trained: Trained
    rng: CounterRNG
    views: tuple[View | None, View | None]
    slots: np.ndarray
    order: np.ndarray
    x: Tensor
    y: np.ndarray
    phi: Any

    @classmethod
    def start(cls, trained: Trained, orders: int, seed: int) -> FittedContext:
        """Nothing read yet."""
        rng = CounterRNG(seed, "lesson", np.arange(orders))
        slots = rng.permutation(trained.ways)
        nothing = torch.zeros(orders, 0, *trained.model.spec.x_shape)
        views = View.draw(rng, trained), View.draw(rng, trained)
        return cls(trained, rng, views, slots, np.zeros((orders, 0), np.int64), nothing, np.zeros(0, np.int64), None)

    @torch.no_grad()
    def read(self, x: Tensor, y: np.ndarray) -> FittedContext:
        """The lesson with further examples: a recurrent model goes on from phi, another reads all of them again.

        Args:
            x: (n, *x_shape).
            y: (n,) int64, numbers of classes below N.
        """
        rng = deepcopy(self.rng)  # drawing moves it on, and this lesson stays as it is
        order = rng.permutation(len(y))  # (M, n)
        new, model = moved(self.views[0], x[torch.from_numpy(order)]), self.trained.model
        whole = replace(
            self,
            rng=rng,
            order=np.concatenate([self.order, order + len(self.y)], 1),
            x=torch.cat([self.x, new], 1),
            y=np.concatenate([self.y, y]),
        )
        if self.phi is not None and model.continues:
            return replace(whole, phi=model.extend(self.phi, new, whole.labels[:, -len(y) :]))
        return replace(whole, phi=model.adapt(whole.x, whole.labels))

    @property
    def labels(self) -> Tensor:
        """(M, S, N) float32, one-hot, in the order of reading."""
        numbers = np.take_along_axis(self.slots, self.y[self.order], 1)
        return F.one_hot(torch.from_numpy(numbers), self.trained.ways).to(torch.float32)

    @torch.no_grad()
    def ask(self, x: Tensor, look: bool = False) -> Answers:
        """Answers to questions x (Q, *x_shape), the mean over the orders.

        Args:
            look: also find what the model looked at, which takes about as long again.
        """
        if not len(x):
            return Answers(np.zeros((0, self.trained.ways)), None)
        step = max(1, AT_ONCE // len(self.slots))
        parts = [self._ask(part, look) for part in x.split(step)]
        looked = [part.looked_at for part in parts if part.looked_at is not None]
        return Answers(np.concatenate([p.probabilities for p in parts]), np.concatenate(looked) if looked else None)

    def _ask(self, x: Tensor, look: bool) -> Answers:
        orders, classes, model = len(self.slots), np.unique(self.y), self.trained.model
        asked = moved(self.views[1], x.expand(orders, *x.shape))
        trace = None
        if look:
            unknown = torch.zeros(orders, len(x), 1, dtype=torch.int64)
            trace = model.trace(Episode(self.x, self.labels, asked, unknown, torch.arange(orders)))
        logits = model.predict(self.phi, asked) if trace is None else trace.logits
        used = torch.from_numpy(self.slots[:, None, classes]).expand(-1, len(x), -1)
        probabilities = np.zeros((len(x), self.trained.ways))
        probabilities[:, classes] = logits.double().gather(2, used).softmax(2).mean(0).numpy()
        return Answers(probabilities, None if trace is None else self._looked_at(trace))

    def _looked_at(self, trace: Trace) -> np.ndarray | None:
        """(Q, S) the share of all reading heads on each example, the mean over the orders."""
        start = self.x.shape[1]
        values = {name: traced.values.float().cpu().numpy() for name, traced in trace.arrays.items()}
        total = np.zeros((trace.logits.shape[1], start))
        for m, order in enumerate(self.order):
            by_role: dict[str, list[np.ndarray]] = {"attention": [], "read": [], "write": [], "retention": []}
            for name, traced in trace.arrays.items():
                if traced.about.role == "retention":
                    by_role["retention"].append(values[name][m])
                elif traced.about.role in by_role:
                    by_role[traced.about.role] += list(values[name][m].swapaxes(0, 1))
            retention = by_role["retention"][0] if by_role["retention"] else None
            found = sources(by_role, retention, start, True, trace.reads_first)
            if found is None:
                return None
            total[:, order] += found[start:, :, :start].mean(1)
        return total / np.maximum(total.sum(1, keepdims=True), 1e-12)


def moved(view: View | None, x: Tensor) -> Tensor:
    """Pictures (M, n, *x_shape) in their views, where there are any."""
    return x if view is None or not x.shape[1] else view.of(x)
