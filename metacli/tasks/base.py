"""What every p(T) offers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Spec
from metacli.tasks.answers import Answer, Decoded
from metacli.tasks.metrics import Metric

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
View = Literal["images", "channels", "curve"]


class Tasks(ABC):
    """A distribution p(T) with the splits train, val and test.

    A subclass is built as `cls(config, seed)` and declares a nested `Config(BaseConfig)` (see `metacli.config.base`).
    What its answers are follows from `answer_of`; most need nothing more to be trained, scored, decoded and drawn.

    Attributes:
        answer: what an answer is.
        view: how a task is drawn: `images`; `channels`, numbers with time across; `curve`, y over x.
        group: the score by which the result of `eval` is also divided, as the length of a sequence; empty for none.
        has_fixed_class_names: whether a name stands for the same class in all tasks over the same data set. Otherwise
            a class is recognised by its pictures, see `class_digests`.
    """

    Config: ClassVar[type[Any]]
    view: ClassVar[View] = "channels"
    group: ClassVar[str] = ""
    has_fixed_class_names: ClassVar[bool] = True

    def __init__(self, config: Any, seed: int = 0):
        self.config = config
        self.seed = seed
        self.answer = self.answer_of(config)
        self.spec = self.spec_of(config)

    @classmethod
    @abstractmethod
    def answer_of(cls, config: Any) -> Answer:
        """What an answer is in the tasks that `config` describes."""

    @classmethod
    @abstractmethod
    def spec_of(cls, config: Any) -> Spec:
        """The spec of the tasks that `config` describes, found without touching any data."""

    @abstractmethod
    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Episodes first, ..., first + count - 1 of a split, each a pure function of (seed, split, its number)."""

    def episodes(
        self, split: Split = "train", batch: int = 1, first: int = 0, count: int | None = None
    ) -> Iterator[Episode]:
        """The tasks of a split in order, `batch` of them at a time: the same ones at every call.

        Args:
            split: train, val or test.
            batch: B, tasks in an Episode, 1 or more; the last Episode may have fewer.
            first: the number of the first task.
            count: how many tasks in all; None: without end.
        """
        if split not in SPLITS or batch < 1 or first < 0:
            raise ValueError(f"split {split!r}, batch {batch}, first {first}: one of {SPLITS}, from 1 on, from 0 on")
        stop = math.inf if count is None else first + count
        while first < stop:
            yield self.batch(split, first, int(min(batch, stop - first)))
            first += batch

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The scores that are shown and kept; the first is the headline: it ranks checkpoints on the val split."""
        return self.answer.metrics

    @property
    def baseline(self) -> dict[str, float]:
        """Metrics of who knows nothing of the task: the line to beat."""
        return self.answer.guessing

    def loss(self, logits: Tensor, episode: Episode) -> Tensor:
        """The scalar that training minimises: the mean cost of a part of an answer, in the unit of the answer's loss.

        Args:
            logits: (B, Q, O).
        """
        cost, scored = self._cost(logits, episode)
        return cost.mean() if scored is None else cost.sum() / (scored.sum() * cost.shape[2])

    def weight(self, episode: Episode) -> int:
        """How many parts of answers `loss` is the mean over: what episodes count by where several processes share them.

        A number of the CPU's: to count on a GPU is to wait for it.
        """
        asked = episode.y_test[..., 0].numel() if episode.mask_test is None else int(episode.mask_test.sum())
        return asked * episode.y_test.shape[-1]

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Scores task by task: each (B,), or (B, k) for a curve, NaN where a task has no value; always a `loss`."""
        cost, scored = self._cost(logits, episode)
        loss = cost.mean((1, 2)) if scored is None else cost.sum((1, 2)) / (scored.sum(1) * cost.shape[2])
        return {"loss": loss, **self.answer.scores(logits, episode.y_test, cost, scored)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """What the logits (Q, O) of one task say to a person, beside the right answers (Q, C)."""
        return self.answer.decode(logits, answer)

    def _cost(self, logits: Tensor, episode: Episode) -> tuple[Tensor, Tensor | None]:
        """(B, Q, C), zero where unscored; and what is scored, (B, Q) bool, None for all."""
        cost, scored = self.answer.cost(logits, episode.y_test), episode.mask_test
        return (cost if scored is None else cost.masked_fill(~scored[..., None], 0.0)), scored

    def describe(self) -> str:
        """One line: which data, which split, how many classes of each; printed before training."""
        return str(self.config.name)

    def curves(self, split: Split, first: int, count: int) -> np.ndarray | None:
        """(count, P, 2) points x, y of the true function of some tasks, for the view `curve`; else None."""
        return None

    def data_identity(self) -> str:
        """The name of the data set, which is equal for all tasks over the same data set."""
        return str(self.config.name)

    def class_digests(self, split: Split) -> dict[str, list[str]]:
        """The classes of a split by name; of each, sorted, the digests of the decoded pixels of all its pictures.

        Empty for tasks without classes of their own. See `metacli.tasks.images.pixel_digests`.
        """
        return {}

    def data_digest(self) -> bytes:
        """Changes with any bit of the data behind the tasks; empty for generated ones."""
        return b""

    def class_names(self, classes: Tensor) -> list[str]:
        """Names of the classes of one task.

        Args:
            classes: (N,) a row of `Episode.classes`.
        """
        return [str(int(c)) for c in classes]
