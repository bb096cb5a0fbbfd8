"""Few-shot regression: a sine wave from a few of its points (Finn, Abbeel, Levine 2017, section 5.1)."""

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
from metacli.tasks.rng import CounterRNG

LEFT, RIGHT = -5.0, 5.0  # of x
LOW, HIGH = 0.1, 5.0  # of the amplitude


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
        """y."""
        return Reals(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """x in, y out; every question alone."""
        answer = cls.answer_of(config)
        return Spec("independent", (1,), answer.label_size, answer.size, config.shots + 1)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`."""
        index = np.arange(first, first + count)
        rng, c = CounterRNG(self.seed, split, index), self.config
        wave = rng.uniform(2)
        x = LEFT + (RIGHT - LEFT) * rng.uniform(c.shots + c.queries, 1)  # (B, S + Q, 1)
        points, y = (torch.from_numpy(a).float() for a in (x, _y(wave, x)))
        x_train, x_test = points.split([c.shots, c.queries], 1)
        y_train, y_test = y.split([c.shots, c.queries], 1)
        return Episode(x_train, Reals(1).encode(y_train), x_test, y_test, torch.from_numpy(index))

    def curves(self, split: Split, first: int, count: int) -> np.ndarray:
        """See `Tasks.curves`: 101 points."""
        wave = CounterRNG(self.seed, split, np.arange(first, first + count)).uniform(2)
        x = np.broadcast_to(np.linspace(LEFT, RIGHT, 101)[:, None], (count, 101, 1))
        return np.concatenate([x, _y(wave, x)], 2)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The squared error, and that of the best constant of each task."""
        return (*super().metrics, Metric("best_constant", "", None, "best_constant"))

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """`squared_error`, and `best_constant`: the error of the mean of D_test's answers, which no constant beats."""
        return {**super().score(logits, episode), "best_constant": episode.y_test.var((1, 2), correction=0)}

    @property
    def baseline(self) -> dict[str, float]:
        """Of one constant for all tasks, E[y], whose error is E[y^2] - E[y]^2."""
        square = (HIGH**3 - LOW**3) / (HIGH - LOW) / 3 / 2  # E[a^2] E[sin^2]
        mean = (HIGH + LOW) / 2 * math.sin(RIGHT) / RIGHT * 2 / math.pi  # E[a] E[sin(x - b)], up to its sign
        return {"squared_error": square - mean**2}

    def describe(self) -> str:
        """One line."""
        c = self.config
        return f"sinusoid: {c.shots} points of a wave, then {c.queries} to predict, generated; seed {self.seed}"


def _y(wave: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(B, T, 1) from the draws (B, 2) of amplitude and phase, and x (B, T, 1)."""
    amplitude, phase = LOW + (HIGH - LOW) * wave[:, 0], np.pi * wave[:, 1]
    return amplitude[:, None, None] * np.sin(x - phase[:, None, None])
