"""Priority sort (Graves et al. 2014, section 4.5): return vectors in the order of their priorities."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from metacli.config.base import BaseConfig
from metacli.episode import Spec
from metacli.tasks.answers import Bits
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases


class PrioritySort(Algorithmic):
    """Bit vectors, each with a priority uniform in [-1, 1] on its own channel, then a delimiter on another.

    The answer is the vectors of highest priority, the highest first.
    """

    class Config(BaseConfig):
        """Keys of `priority-sort`."""

        name: Literal["priority-sort"] = Field("priority-sort", description="Registered name of the task distribution.")
        width: int = Field(8, ge=1, le=256, description="Bits per vector.")
        items: int = Field(20, ge=1, le=10_000, description="Number of vectors to sort.")
        answers: int = Field(16, ge=1, le=10_000, description="Number of vectors to return, those of highest priority.")

        @model_validator(mode="after")
        def _check_answers(self) -> PrioritySort.Config:
            if self.answers > self.items:
                raise ValueError(f"answers {self.answers} is above items {self.items}: lower answers or raise items")
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """Returns the bits of a step."""
        return Bits(config.width)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`. Inputs: the bits, the priority, the delimiter. Answers: the bits."""
        return Spec("sequence", (config.width + 2,), 0, config.width, config.items + 1 + config.answers)

    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates all items and the delimiter; the answers by descending priority."""
        c = self.config
        vectors = rng.integers(2, c.items, c.width)
        priority = 2 * rng.uniform(c.items) - 1
        x_train = np.zeros((len(vectors), c.items + 1, c.width + 2))
        x_train[:, :-1, : c.width] = vectors
        x_train[:, :-1, -2] = priority
        x_train[:, -1, -1] = 1
        highest = np.argsort(-priority, axis=1)[:, : c.answers]
        y_test = np.take_along_axis(vectors, highest[..., None], 1)
        return Phases(
            x_train,
            np.ones(x_train.shape[:2], dtype=bool),
            np.zeros((len(vectors), c.answers, c.width + 2)),
            y_test,
            np.ones(y_test.shape[:2], dtype=bool),
        )

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        return f"priority-sort: the {c.answers} highest of {c.items} vectors of {c.width} bits, generated"
