"""N-way K-shot classification of vectors in clusters around random centres."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Symbols
from metacli.tasks.base import Split, Tasks


class Clusters(Tasks):
    """Every task has N new centres, uniform in [-1, 1] in each dimension. An item is its class's centre plus noise."""

    class Config(BaseConfig):
        """Keys of `clusters`."""

        name: Literal["clusters"] = Field("clusters", description="Registered name of the task distribution.")
        ways: int = Field(3, ge=2, le=1000, description="N, classes per task.")
        shots: int = Field(1, ge=1, le=1000, description="K, support examples per class.")
        queries: int = Field(2, ge=1, le=1000, description="Queries per class.")
        width: int = Field(4, ge=1, le=4096, description="Numbers per vector.")
        noise: float = Field(0.3, ge=0, le=10, description="Half the width of the uniform noise added to each number.")

    @classmethod
    def answer_of(cls, config: Config) -> Symbols:
        """Returns class labels."""
        return Symbols(config.ways)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`: vectors in, class labels out, independent queries."""
        answer = cls.answer_of(config)
        return Spec("independent", (config.width,), answer.label_size, answer.size, config.ways * config.shots + 1)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`. D_train and D_test are in random order."""
        index = np.arange(first, first + count)
        rng, c = self.random_numbers(split, index), self.config
        centres, task_row = 2 * rng.uniform(c.ways, c.width) - 1, np.arange(count)[:, None]
        parts = []
        for per_class in (c.shots, c.queries):
            label = rng.permutation(c.ways * per_class) % c.ways  # (B, T)
            noise = c.noise * (2 * rng.uniform(c.ways * per_class, c.width) - 1)
            x = torch.from_numpy(centres[task_row, label] + noise).float()
            parts.append((x, torch.from_numpy(label[..., None])))
        (x_train, y_train), (x_test, y_test) = parts
        return Episode(x_train, Symbols(c.ways).encode(y_train), x_test, y_test, torch.from_numpy(index))

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        return (
            f"clusters: {c.ways}-way {c.shots}-shot, vectors of {c.width} numbers, generated; {self.describe_seeds()}"
        )
