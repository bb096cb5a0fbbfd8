"""Tasks: the base class of all task distributions p(T)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from metacli.episode import Episode, Spec
from metacli.tasks.answers import Answer, Decoded
from metacli.tasks.metrics import Metric
from metacli.tasks.rng import CounterRNG

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
View = Literal["images", "channels", "curve"]
SAME_SHOTS = 64  # tasks in a row with the same number of support examples, see `Tasks.sample_shots`


class Tasks(ABC):
    """A distribution p(T) with the splits train, val and test.

    A subclass is built as `cls(config, seed, held_out_seed)` and declares a nested `Config(BaseConfig)` (see
    `metacli.config.base`). The kind of answer from `answer_of` determines loss, scores, decoding and drawing.

    Args:
        config: the keys of the recipe's section `task`.
        seed: seed of the tasks of the split train.
        held_out_seed: seed of the tasks of val and test. It is 0 in every training run, so that runs with different
            seeds are validated and tested on the same tasks.

    Attributes:
        answer: the kind of answer.
        view: how a task is plotted: `images`; `channels`, numbers over time; `curve`, y over x.
        group: the score by which `eval` also groups its results, such as the length of a sequence; empty for none.
        has_fixed_class_names: whether a name always identifies the same class of a data set. Otherwise a class is
            identified by its images, see `class_digests`.
    """

    Config: ClassVar[type[Any]]
    view: ClassVar[View] = "channels"
    group: ClassVar[str] = ""
    has_fixed_class_names: ClassVar[bool] = True

    def __init__(self, config: Any, seed: int = 0, held_out_seed: int = 0):
        self.config = config
        self.seed = seed
        self.held_out_seed = held_out_seed
        self.answer = self.answer_of(config)
        self.spec = self.spec_of(config)

    @classmethod
    @abstractmethod
    def answer_of(cls, config: Any) -> Answer:
        """Returns the kind of answer of the task distribution that `config` describes."""

    @classmethod
    @abstractmethod
    def spec_of(cls, config: Any) -> Spec:
        """Returns the spec of the task distribution that `config` describes, without reading any data."""

    @abstractmethod
    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Returns episodes first, ..., first + count - 1 of a split, each a pure function of (seed, split, number).

        All random numbers come from `random_numbers`.
        """

    def with_labels(self, random: bool) -> Tasks:
        """Returns the same tasks, with labels as a model reads them; `self` where labels have one form only.

        Args:
            random: see `Spec.random_labels`.
        """
        return self

    def random_numbers(self, split: Split, index: np.ndarray) -> CounterRNG:
        """Returns the random numbers of the tasks `index` (B,) of a split, by its seed."""
        return CounterRNG(self.seed_of(split), split, index)

    def curriculum_progress(self, split: Split, index: np.ndarray) -> np.ndarray:
        """Returns (B,) in [0, 1], the progress of the curriculum of the tasks `index` (B,); 1 is the full range.

        It rises linearly over the first `curriculum` training tasks. It is 1 for held-out tasks, and without this key.
        """
        duration = getattr(self.config, "curriculum", 0) if split == "train" else 0
        return np.minimum(1.0, index / duration) if duration else np.ones(len(index))

    def sample_shots(self, split: Split, index: np.ndarray, in_a_row: int = SAME_SHOTS) -> np.ndarray:
        """Returns (B,) int64, the shots K of the tasks `index` (B,): `shots`, or a random number from `fewest_shots`.

        Args:
            in_a_row: tasks in a row that have the same number, so that most batches need no padding.
        """
        c = self.config
        if not c.fewest_shots:
            return np.full(len(index), c.shots)
        rng = CounterRNG(self.seed_of(split), f"{split} shots", index // in_a_row)
        return c.fewest_shots + rng.integers(c.shots - c.fewest_shots + 1, 1)[:, 0]

    def seed_of(self, split: Split) -> int:
        """Returns the seed of the tasks of a split."""
        return self.seed if split == "train" else self.held_out_seed

    def describe_seeds(self) -> str:
        """Returns the seed of the tasks, and that of the held-out tasks if it differs."""
        held_out = "" if self.held_out_seed == self.seed else f", val and test {self.held_out_seed}"
        return f"seed {self.seed}{held_out}"

    def episodes(
        self, split: Split = "train", batch: int = 1, first: int = 0, count: int | None = None
    ) -> Iterator[Episode]:
        """Yields the tasks of a split in order, `batch` at a time, the same at every call.

        Args:
            split: train, val or test.
            batch: B, tasks in an Episode, 1 or more; the last Episode may have fewer.
            first: the number of the first task.
            count: total number of tasks. None: no end.
        """
        if split not in SPLITS or batch < 1 or first < 0:
            raise ValueError(
                f"split {split!r}, batch {batch}, first {first}: split must be one of {', '.join(SPLITS)}, batch 1 or "
                "more, first 0 or more"
            )
        stop = math.inf if count is None else first + count
        while first < stop:
            yield self.batch(split, first, int(min(batch, stop - first)))
            first += batch

    @property
    def class_root(self) -> Path | None:
        """The folder of classes that the pictures are read from; None for other tasks."""
        return None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics to report. The first one ranks checkpoints on the val split."""
        return self.answer.metrics

    @property
    def baseline(self) -> dict[str, float]:
        """Metrics at chance level."""
        return self.answer.chance_level

    def logits(self, output: Tensor, episode: Episode) -> Tensor:
        """Returns the logits of an episode's answers from a model's output (B, Q, O); see `Answer.logits`."""
        return self.answer.logits(output, episode.label_vectors)

    def loss(self, output: Tensor, episode: Episode) -> Tensor:
        """Returns the training loss: the mean cost of the components of all scored answers.

        Args:
            output: (B, Q, O), see `MetaLearner.predict`.
        """
        cost, scored = self._masked_cost(self.logits(output, episode), episode)
        return cost.mean() if scored is None else cost.sum() / (scored.sum() * cost.shape[2])

    def loss_weight(self, episode: Episode) -> int:
        """Returns the number of components that `loss` averages, which weights the losses of several processes.

        The episode must be on the CPU, because counting on a GPU would force a synchronisation.
        """
        scored_answers = episode.y_test[..., 0].numel() if episode.mask_test is None else int(episode.mask_test.sum())
        return scored_answers * episode.y_test.shape[-1]

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns the scores of each task, including `loss`: (B,), or (B, k) for a curve; NaN for no value."""
        logits = self.logits(output, episode)
        cost, scored = self._masked_cost(logits, episode)
        loss = cost.mean((1, 2)) if scored is None else cost.sum((1, 2)) / (scored.sum(1) * cost.shape[2])
        return {"loss": loss, **self.answer.scores(logits, episode.y_test, cost, scored)}

    def headline_score(self, output: Tensor, episode: Episode) -> Tensor:
        """Returns the first of `metrics` for each task, (B,), equal to its entry in `score`."""
        headline = self.metrics[0]
        if headline != self.answer.metrics[0]:  # defined by the subclass, not by the kind of answer
            return self.score(output, episode)[headline.name]
        logits = self.logits(output, episode)
        return self.answer.headline(logits, episode.y_test, *self._masked_cost(logits, episode))

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Decodes the logits (Q, O) of one task and compares them with the correct answers (Q, C)."""
        return self.answer.decode(logits, answer)

    def _masked_cost(self, logits: Tensor, episode: Episode) -> tuple[Tensor, Tensor | None]:
        """Returns the cost (B, Q, C), zero where no answer is scored, and the mask of scored answers (B, Q) or None."""
        cost, scored = self.answer.cost(logits, episode.y_test), episode.mask_test
        return (cost if scored is None else cost.masked_fill(~scored[..., None], 0.0)), scored

    def describe(self) -> str:
        """Returns one line about the data and its splits, printed before training."""
        return str(self.config.name)

    def resolve_config(self) -> Any:
        """Returns the config with every choice that depends on the data.

        A run records it, so that the same tasks are built when the data have grown. May load the data.
        """
        return self.config

    def curves(self, split: Split, first: int, count: int) -> np.ndarray | None:
        """Returns (count, P, 2), points x, y of the true function of each task, for the view `curve`; else None."""
        return None

    def data_identity(self) -> str:
        """Returns the name of the data set, the same for every task distribution over it."""
        return str(self.config.name)

    def class_digests(self, split: Split) -> dict[str, list[str]]:
        """Returns the classes of a split by name, each with the sorted digests of its images' decoded pixels.

        Empty for generated tasks. See `metacli.tasks.images.pixel_digests`.
        """
        return {}

    def image_name(self, class_name: str, digest: str) -> str:
        """Returns a name for the image of a class with a digest, for messages."""
        return class_name

    def data_digest(self) -> bytes:
        """Returns a digest that changes with any bit of the data set; empty for generated tasks."""
        return b""

    def class_names(self, classes: Tensor) -> list[str]:
        """Returns the names of the classes of one task.

        Args:
            classes: (N,) a row of `Episode.classes`.
        """
        return [str(int(c)) for c in classes]
