"""Few-shot regression of sine waves (Finn, Abbeel, Levine 2017, section 5.1)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Reals
from metacli.tasks.base import Split, Tasks
from metacli.tasks.metrics import Metric

X_MIN, X_MAX = -5.0, 5.0
MIN_AMPLITUDE, MAX_AMPLITUDE = 0.1, 5.0


class Sinusoid(Tasks):
    """y = a sin(x - b), a uniform in [0.1, 5], b in [0, pi], x in [-5, 5]; D_train is `shots` points of one wave."""

    view = "curve"

    class Config(BaseConfig):
        """Keys of `sinusoid`."""

        name: Literal["sinusoid"] = Field("sinusoid", description="Registered name of the task distribution.")
        shots: int = Field(10, ge=1, le=1000, description="K, points in D_train. The paper uses 5 and 10.")
        queries: int = Field(10, ge=1, le=1000, description="Points in D_test.")

    @classmethod
    def answer_of(cls, config: Config) -> Reals:
        """Returns one real number, y."""
        return Reals(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`: x in, y out, independent queries."""
        answer = cls.answer_of(config)
        return Spec("independent", (1,), answer.label_size, answer.size, config.shots + 1, real_labels=True)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`."""
        index = np.arange(first, first + count)
        rng, c = self.random_numbers(split, index), self.config
        uniforms = rng.uniform(2)
        x = X_MIN + (X_MAX - X_MIN) * rng.uniform(c.shots + c.queries, 1)  # (B, S + Q, 1)
        points, y = (torch.from_numpy(values).float() for values in (x, _evaluate_wave(uniforms, x)))
        x_train, x_test = points.split([c.shots, c.queries], 1)
        y_train, y_test = y.split([c.shots, c.queries], 1)
        return Episode(x_train, Reals(1).encode(y_train), x_test, y_test, torch.from_numpy(index))

    def curves(self, split: Split, first: int, count: int) -> np.ndarray:
        """See `Tasks.curves`: 101 points."""
        uniforms = self.random_numbers(split, np.arange(first, first + count)).uniform(2)
        x = np.broadcast_to(np.linspace(X_MIN, X_MAX, 101)[:, None], (count, 101, 1))
        return np.concatenate([x, _evaluate_wave(uniforms, x)], 2)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The squared error, and the squared error of the best constant of each task."""
        return (*super().metrics, Metric("best_constant", "", None))

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns `squared_error`, and `best_constant`, the error of the mean of D_test's answers."""
        return {**super().score(output, episode), "best_constant": episode.y_test.var((1, 2), correction=0)}

    @property
    def baseline(self) -> dict[str, float]:
        """The error of the best constant for all tasks, E[y], which is E[y^2] - E[y]^2."""
        square = (MAX_AMPLITUDE**3 - MIN_AMPLITUDE**3) / (MAX_AMPLITUDE - MIN_AMPLITUDE) / 3 / 2  # E[a^2] E[sin^2]
        # E[a] E[sin(x - b)], up to its sign
        mean = (MAX_AMPLITUDE + MIN_AMPLITUDE) / 2 * math.sin(X_MAX) / X_MAX * 2 / math.pi
        return {"squared_error": square - mean**2}

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        return (
            f"sinusoid: {c.shots} support points and {c.queries} queries per wave, generated; {self.describe_seeds()}"
        )


def _evaluate_wave(uniforms: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns y (B, T, 1) at x (B, T, 1), from uniform numbers (B, 2) for amplitude and phase."""
    amplitude, phase = MIN_AMPLITUDE + (MAX_AMPLITUDE - MIN_AMPLITUDE) * uniforms[:, 0], np.pi * uniforms[:, 1]
    return amplitude[:, None, None] * np.sin(x - phase[:, None, None])
