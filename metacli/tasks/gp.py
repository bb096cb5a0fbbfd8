"""Few-shot regression of functions from a Gaussian process, the 1-D set-up of neural processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Gaussian, gaussian_nll
from metacli.tasks.base import SAME_SHOTS, Split
from metacli.tasks.gp_posterior import Grid, Mixture, infer_posterior
from metacli.tasks.metrics import Metric
from metacli.tasks.optimum import OPTIMUM, OptimumTasks

X_MIN, X_MAX = -2.0, 2.0
LENGTHS, SCALES = (0.1, 0.6), (0.1, 1.0)  # ranges of the length scale and of the output scale
CURVE_POINTS = 101
CURVE_JITTER = 1e-8  # variance added to the points of the drawn curve, which are almost dependent


class GaussianProcess(OptimumTasks):
    """y = f(x) + noise, f a Gaussian process with the kernel a^2 exp(-(x - x')^2 / (2 l^2)), x uniform in [-2, 2].

    Every task draws its length scale l uniformly from [0.1, 0.6] and its output scale a from [0.1, 1]. An answer is a
    normal distribution. These are the tasks of Transformer Neural Processes (Nguyen and Grover 2022, arXiv 2207.04179;
    their code draws 3 to 46 support points and noise of 0.02).

    The optimum is the posterior predictive density with l and a integrated out by quadrature. It is a mixture of normal
    distributions, so no model with normal answers reaches it: `best_normal` is the best of those.
    """

    view = "curve"
    cost_unit = "nats per number"

    class Config(BaseConfig):
        """Keys of `gp`."""

        name: Literal["gp"] = Field("gp", description="Registered name of the task distribution.")
        shots: int = Field(46, ge=1, le=1000, description="K, the largest number of points in D_train.")
        fewest_shots: int = Field(
            3,
            ge=0,
            le=1000,
            description=(
                "Smallest number of points in D_train. 0 gives every task `shots`. Above 0, a task has a random number "
                "of them, from this one to `shots`. In training, each 64 tasks in a row have the same number, so that "
                "most batches need no padding."
            ),
        )
        queries: int = Field(20, ge=1, le=1000, description="Points in D_test.")
        noise: float = Field(0.02, ge=0.001, le=10, description="Standard deviation of the noise of y.")

        @model_validator(mode="after")
        def _check_shots(self) -> GaussianProcess.Config:
            if self.fewest_shots > self.shots:
                fewest = f"fewest_shots {self.fewest_shots} is above shots {self.shots}"
                raise ValueError(f"{fewest}: lower it, or set it to 0 for {self.shots} in every task")
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Gaussian:
        """Returns one real number, y, with its scale."""
        return Gaussian(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`: x in, mean and scale of y out, independent queries."""
        answer = cls.answer_of(config)
        return Spec("independent", (1,), answer.label_size, answer.size, config.shots + 1, real_labels=True)

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """See `Tasks.batch`. Every task draws its queries and `shots` points, of which D_train has the first ones."""
        index, c = np.arange(first, first + count), self.config
        x, y = self._sample_functions(split, index)
        shots = self.sample_shots(split, index, SAME_SHOTS if split == "train" else 1)
        mask, longest = np.arange(c.shots) < shots[:, None], shots.max()
        points, values = (torch.from_numpy(v).float()[..., None] for v in (x, y))  # (B, Q + K, 1)
        train = slice(c.queries, c.queries + longest)
        return Episode(
            x_train=points[:, train],
            y_train=Gaussian(1).encode(values[:, train]) * torch.from_numpy(mask[:, :longest, None]),
            x_test=points[:, : c.queries],
            y_test=values[:, : c.queries],
            index=torch.from_numpy(index),
            mask_train=None if mask[:, :longest].all() else torch.from_numpy(mask[:, :longest]),
        )

    def curves(self, split: Split, first: int, count: int) -> np.ndarray:
        """See `Tasks.curves`: 101 points of f, drawn jointly with those of `batch`."""
        curve = np.linspace(X_MIN, X_MAX, CURVE_POINTS)
        _, y = self._sample_functions(split, np.arange(first, first + count), curve)
        return np.stack([np.broadcast_to(curve, (count, CURVE_POINTS)), y[:, -CURVE_POINTS:]], 2)

    def _sample_functions(
        self, split: Split, index: np.ndarray, curve: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns x and y (B, P) of the queries, of `shots` further points, and of f at the points `curve`, if given.

        y = L z with the Cholesky factor L, so further points do not change the earlier values.
        """
        rng, c = self.random_numbers(split, index), self.config
        length, scale = (low + (high - low) * rng.uniform(1) for low, high in (LENGTHS, SCALES))  # (B, 1)
        x = (X_MIN + (X_MAX - X_MIN) * rng.uniform(c.queries + c.shots)).astype(np.float32).astype(np.float64)
        z, variance = rng.normal(x.shape[1]), np.full(x.shape[1], c.noise**2)
        if curve is not None:
            x = np.concatenate([x, np.broadcast_to(curve, (len(x), len(curve)))], 1)
            z = np.concatenate([z, rng.normal(len(curve))], 1)
            variance = np.concatenate([variance, np.full(len(curve), CURVE_JITTER)])
        distance = (x[:, :, None] - x[:, None]) / length[..., None]
        covariance = (scale**2)[..., None] * np.exp(-0.5 * distance**2) + np.diag(variance)
        return x, (np.linalg.cholesky(covariance) * z[:, None]).sum(2)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of `OptimumTasks`, with the loss first: the optimum takes too long for every training step."""
        above, loss, *others = super().metrics
        return (loss, above, *others)

    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """Returns the negative log likelihoods (B, Q) of the optimum and of simpler predictors, in nats.

        `best_normal`: the normal distribution with the mean and variance of the optimum, which minimises the expected
        cost. `fixed_kernel`: the posterior with the mean length and output scale. `prior`: without D_train.
        """
        y, posterior = episode.y_test[..., 0].double(), self._infer(episode, Grid.uniform(LENGTHS, SCALES))
        middle = Grid.single(sum(LENGTHS) / 2, sum(SCALES) / 2)
        unseen = replace(episode, x_train=episode.x_train[:, :0], y_train=episode.y_train[:, :0], mask_train=None)
        costs = {
            OPTIMUM: posterior.nll(y),
            "best_normal": gaussian_nll(*posterior.moments(), y),
            "fixed_kernel": self._infer(episode, middle).nll(y),
            "prior": self._infer(unseen, Grid.uniform(LENGTHS, SCALES)).nll(y),
        }
        return {name: cost.float() for name, cost in costs.items()}

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """Returns mean and logarithm of the scale of the posterior at each query; see `OptimumTasks.statistics`."""
        mean, scale = self._infer(episode, Grid.uniform(LENGTHS, SCALES)).moments()
        return {"posterior_mean": mean.float(), "posterior_log_scale": scale.log().float()}

    def _infer(self, episode: Episode, grid: Grid) -> Mixture:
        """Returns the posterior predictive distribution of every query."""
        x_train, y_train, x_test = (t[..., 0] for t in (episode.x_train, episode.y_train, episode.x_test))
        return infer_posterior(x_train, y_train, x_test, grid, self.config.noise, episode.mask_train)

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        shots = f"{c.fewest_shots} to {c.shots}" if c.fewest_shots else f"{c.shots}"
        return f"gp: {shots} support points and {c.queries} queries per function, generated; {self.describe_seeds()}"
