"""What every p(T) offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor

from metacli.episode import Episode, Spec

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Tasks(ABC):
    """A distribution p(T) with the splits train, val and test.

    A subclass is built as `cls(config, seed)` and declares a nested `Config(BaseConfig)` (see `metacli.config.base`).

    Attributes:
        metric: the name of the score that ranks checkpoints on the val split.
        maximise: whether more of it is better.
    """

    Config: ClassVar[type[Any]]
    metric: ClassVar[str] = "accuracy"
    maximise: ClassVar[bool] = True

    def __init__(self, config: Any, seed: int = 0):
        self.config = config
        self.seed = seed
        self.spec = self.spec_of(config)

    @classmethod
    @abstractmethod
    def spec_of(cls, config: Any) -> Spec:
        """The spec of the tasks that `config` describes, found without touching any data."""

    @abstractmethod
    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Episodes first, ..., first + count - 1 of a split, each a pure function of (seed, split, its number)."""

    @abstractmethod
    def loss(self, logits: Tensor, episode: Episode) -> Tensor:
        """The scalar that training minimises: mean loss per answer, in nats.

        Args:
            logits: (B, Q, O).
        """

    @abstractmethod
    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Scores task by task: each (B,), or (B, k) for a curve, NaN where a task has no value.

        Always holds `loss` (nats per answer) and `accuracy` (share of right answers, 0 to 1).
        """

    @property
    @abstractmethod
    def chance(self) -> dict[str, float]:
        """`loss` and `accuracy` of guessing."""

    def better(self, score: float, best: float | None) -> bool:
        """Whether a validation score beats the best so far, None before the first."""
        return best is None or (score > best if self.maximise else score < best)

    def describe(self) -> str:
        """One line: which data, which split, how many classes of each; printed before training."""
        return str(self.config.name)

    def class_identities(self, split: Split) -> set[str]:
        """The classes of a split by where they come from, the same in all tasks over the same data; empty without."""
        return set()

    def class_names(self, classes: Tensor) -> list[str]:
        """Names of the classes of one task.

        Args:
            classes: (N,) a row of `Episode.classes`.
        """
        return [str(int(c)) for c in classes]
