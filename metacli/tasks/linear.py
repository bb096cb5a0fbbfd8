"""Linear regression in context (Garg, Tsipras, Liang, Valiant 2022, arXiv 2208.01066, section 3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Reals
from metacli.tasks.base import Split
from metacli.tasks.optimum import OPTIMUM, OptimumTasks

NEIGHBOURS = 3  # of the nearest-neighbour baseline, as in the paper
_NEGLIGIBLE = 1e-9  # share of the prior variance: a direction that is known up to rounding


class Linear(OptimumTasks):
    """y_t = w x_t + noise, x ~ N(0, I), w ~ N(0, I / d). Every y_t is predicted from x_t and all earlier pairs.

    D_train is empty. D_test is a stream: x_t arrives together with y_{t-1}. So step t has seen t - 1 examples, and one
    evaluation gives the error after 0, ..., points - 1 of them.

    The paper draws w ~ N(0, I) and reports the squared error divided by d. Here y has variance 1 for every d, so the
    squared error itself is the paper's figure.

    The optimum is the posterior mean of w x_t. Without noise it is the least-squares solution of minimum norm.
    """

    cost_unit = "squared error"

    class Config(BaseConfig):
        """Keys of `linear`."""

        name: Literal["linear"] = Field("linear", description="Registered name of the task distribution.")
        dimension: int = Field(5, ge=1, le=512, description="d, the number of inputs.")
        points: int = Field(11, ge=1, le=10_000, description="Pairs per task. The paper has 2 d + 1.")
        noise: float = Field(0.0, ge=0, le=100, description="Standard deviation of the noise of y.")
        first_dimension: int = Field(
            5, ge=1, le=512, description="Inputs that are not zero at the start of the curriculum. The paper has 5."
        )
        first_points: int = Field(
            11, ge=1, le=10_000, description="Pairs per task at the start of the curriculum. The paper has 11."
        )
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training tasks over which the number of inputs that are not zero grows from `first_dimension` to "
                "`dimension`, and that of pairs from `first_points` to `points`. 0 disables the curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_curriculum(self) -> Linear.Config:
            for name in ("dimension", "points"):
                first, last = getattr(self, f"first_{name}"), getattr(self, name)
                if self.curriculum and first > last:
                    raise ValueError(f"first_{name} {first} is above {name} {last}: lower it or set curriculum to 0")
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Reals:
        """Returns one real number, y."""
        return Reals(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`: a stream of x in, y out."""
        answer = cls.answer_of(config)
        return Spec("stream", (config.dimension,), answer.label_size, answer.size, config.points, real_labels=True)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`. Shorter tasks of a curriculum are padded to the longest of the batch."""
        c, index = self.config, np.arange(first, first + count)
        rng, progress = self.random_numbers(split, index), self.curriculum_progress(split, index)
        weight = rng.normal(c.dimension) / np.sqrt(c.dimension)  # (B, d)
        x = rng.normal(c.points, c.dimension).astype(np.float32)  # (B, Q, d)
        noise = c.noise * rng.normal(c.points)
        dimension, points = (
            np.floor(low + (high - low) * progress).astype(np.int64)
            for low, high in ((c.first_dimension, c.dimension), (c.first_points, c.points))
        )
        x *= np.arange(c.dimension) < dimension[:, None, None]
        y = torch.from_numpy((x * weight[:, None]).sum(2) + noise).float()[..., None]  # (B, Q, 1)
        mask, longest = torch.from_numpy(np.arange(c.points) < points[:, None]), int(points.max())
        x_test, y_test, mask = torch.from_numpy(x)[:, :longest], y[:, :longest], mask[:, :longest]
        return Episode(
            x_train=x_test[:, :0],
            y_train=x_test.new_zeros(count, 0, self.spec.y_size),
            x_test=x_test,
            y_test=y_test,
            index=torch.from_numpy(index),
            y_previous=F.pad(Reals(1).encode(y_test), (0, 0, 1, 0))[:, :-1],
            mask_test=None if mask.all() else mask,
        )

    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """Returns the squared errors (B, Q) of the optimum and of two baselines of the paper.

        `3_nearest_neighbours`: the mean y of the 3 nearest x, or of all if there are fewer. `averaging`: w is estimated
        as the mean of y x. Both predict 0 without an example.
        """
        x, y = episode.x_test.double(), episode.y_test[..., 0].double()
        variance = self.config.noise**2
        predictions = {
            OPTIMUM: (posterior_means(x, y, variance) * x).sum(2),
            f"{NEIGHBOURS}_nearest_neighbours": average_nearest(x, y),
            "averaging": average_products(x, y),
        }
        return {name: (prediction - y).square().float() for name, prediction in predictions.items()}

    @property
    def baseline(self) -> dict[str, float]:
        """The error of the answer 0."""
        return {"loss": 1 + self.config.noise**2}

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """Returns the posterior means of y and of each weight; see `OptimumTasks.statistics`."""
        x, y = episode.x_test.double(), episode.y_test[..., 0].double()
        means = posterior_means(x, y, self.config.noise**2)
        weights = {f"weight_{i + 1}": mean for i, mean in enumerate(means.unbind(2))}
        return {name: mean.float() for name, mean in ({"answer": (means * x).sum(2)} | weights).items()}

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        noise = f", noise {c.noise:g}" if c.noise else ""
        return f"linear: {c.points} pairs in {c.dimension} dimensions{noise}, generated; {self.describe_seeds()}"


def posterior_means(x: Tensor, y: Tensor, noise_variance: float) -> Tensor:
    """Returns (B, Q, d), the posterior mean of w ~ N(0, I / d) before each step, from the earlier pairs (x, y).

    This is recursive least squares: k = P x / (x P x + s^2), w <- w + k (y - w x), P <- P - k (P x)^T. Without noise,
    an x in the span of the earlier ones adds nothing, and its x P x is a rounding error.

    Args:
        x: (B, Q, d) float64.
        y: (B, Q) float64.
        noise_variance: s^2.
    """
    size = x.shape[2]
    mean, means = x.new_zeros(len(x), size), []
    covariance = torch.eye(size, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1) / size
    for item, value in zip(x.unbind(1), y.unbind(1), strict=True):
        means.append(mean)
        direction = (covariance @ item[..., None])[..., 0]  # P x
        variance = (direction * item).sum(1, keepdim=True)  # x P x
        is_new = variance > _NEGLIGIBLE * item.square().sum(1, keepdim=True) / size
        gain = torch.where(is_new, direction / (variance + noise_variance).clamp_min(1e-300), 0.0)  # k
        mean = mean + gain * (value[:, None] - (mean * item).sum(1, keepdim=True))
        covariance = covariance - gain[..., None] * direction[:, None]
    return torch.stack(means, 1)


def average_nearest(x: Tensor, y: Tensor) -> Tensor:
    """Returns (B, Q), the mean y of the nearest earlier x (at most NEIGHBOURS) of each step; 0 for the first."""
    steps = x.shape[1]
    is_earlier = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril(-1)
    distance = torch.cdist(x, x).masked_fill(~is_earlier, torch.inf)
    nearest, index = distance.topk(min(NEIGHBOURS, steps), largest=False)  # (B, Q, 3)
    counted = nearest.isfinite()
    values = y[:, None].expand(-1, steps, -1).gather(2, index)
    return (values * counted).sum(2) / counted.sum(2).clamp_min(1)


def average_products(x: Tensor, y: Tensor) -> Tensor:
    """Returns (B, Q), x times the mean of y x over the earlier steps; 0 for the first."""
    total = F.pad((y[..., None] * x).cumsum(1), (0, 0, 1, 0))[:, :-1]
    count = torch.arange(x.shape[1], dtype=x.dtype, device=x.device).clamp_min(1)
    return (total * x).sum(2) / count
