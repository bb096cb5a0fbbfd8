"""Coin: predict the next toss of a coin of unknown bias. The optimum is the posterior predictive."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode
from metacli.tasks.optimum import OPTIMUM
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.symbols import NextSymbol, count_before, draw_symbols, one_hot


class Coin(NextSymbol):
    """Tosses of one coin per task, heads (1) with a probability ~ Beta(a, b), or ~ a mixture of two Beta priors.

    The tosses are drawn from Polya's urn: the next one is heads with probability (a + heads) / (a + b + tosses). By de
    Finetti's theorem their distribution is that of a coin whose bias is drawn from Beta(a, b) first.
    """

    cost_unit: ClassVar[str] = "nats per toss"

    class Config(BaseConfig):
        """Keys of `coin`."""

        name: Literal["coin"] = Field("coin", description="Registered name of the task distribution.")
        a: float = Field(1.0, gt=0, le=1000, description="First parameter of the prior Beta(a, b) of heads.")
        b: float = Field(1.0, gt=0, le=1000, description="Second parameter of the prior.")
        second_share: float = Field(
            0.0, ge=0, le=1, description="Share of the coins that have the second prior. 0: there is one prior."
        )
        second_a: float = Field(1.0, gt=0, le=1000, description="First parameter of the second prior.")
        second_b: float = Field(1.0, gt=0, le=1000, description="Second parameter of the second prior.")
        length: int = Field(50, ge=1, le=10_000, description="Tosses per coin.")

    @classmethod
    def count_symbols(cls, config: Config) -> int:
        """Returns 2: tails is 0, heads is 1."""
        return 2

    def sample_symbols(self, rng: CounterRNG) -> np.ndarray:
        """See `NextSymbol.sample_symbols`."""
        c = self.config
        has_second_prior = rng.uniform(1) < c.second_share  # (B, 1)
        weights = np.where(has_second_prior, [[c.second_b, c.second_a]], [[c.b, c.a]])  # of tails and heads
        uniforms = rng.uniform(c.length)
        tosses = np.empty(uniforms.shape, np.int64)
        for t in range(c.length):
            tosses[:, t] = draw_symbols(uniforms[:, t], weights)
            weights[np.arange(len(weights)), tosses[:, t]] += 1
        return tosses

    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.reference_costs`.

        The baselines are `add_one`, (heads + 1) / (tosses + 2), which is the optimum for one prior Beta(1, 1) and then
        left out, and `prior_mean`, which learns nothing.
        """
        c, sides = self.config, one_hot(episode.y_test[..., 0], 2)  # (B, Q, 2): tails, heads
        seen = torch.arange(sides.shape[1], device=sides.device)[:, None]
        prior_mean = (1 - c.second_share) * c.a / (c.a + c.b) + c.second_share * c.second_a / (c.second_a + c.second_b)
        probability = {
            OPTIMUM: self._posterior(episode)[0],
            "add_one": (count_before(sides) + 1) / (seen + 2),
            "prior_mean": sides.new_tensor([1 - prior_mean, prior_mean]),
        }
        if c.a == c.b == 1 and c.second_share == 0:
            del probability["add_one"]
        return {name: -(p * sides).sum(-1).log() for name, p in probability.items()}

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.statistics`: heads so far, and the posterior mean and variance of the bias."""
        mean, variance = self._posterior(episode)
        heads = count_before(episode.y_test[..., 0].float())
        return {"heads": heads, "posterior_mean": mean[..., 1], "posterior_variance": variance}

    def _posterior(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Returns the posterior predictive of tails and heads (B, Q, 2), and the posterior variance of the bias (B, Q).

        With a mixture, the posterior weight of a prior is proportional to its share, times the probability that it
        gives the tosses so far, which is the product of its predictive probabilities.
        """
        c, sides = self.config, one_hot(episode.y_test[..., 0], 2)
        prior = sides.new_tensor([[c.b, c.a], [c.second_b, c.second_a]])
        share = sides.new_tensor([1 - c.second_share, c.second_share])
        counts = prior + count_before(sides)[:, :, None]  # (B, Q, priors, 2)
        total = counts.sum(-1)
        predictive = counts / total[..., None]
        evidence = count_before((predictive * sides[:, :, None]).sum(-1).log())  # (B, Q, priors)
        weight = (share.log() + evidence).softmax(-1)
        mixed = (weight[..., None] * predictive).sum(2)
        square = predictive[..., 1] * (counts[..., 1] + 1) / (total + 1)  # E[bias^2] of each prior
        return mixed, (weight * square).sum(-1) - mixed[..., 1].square()

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        prior = f"Beta({c.a:g}, {c.b:g})"
        if c.second_share:
            prior = f"{1 - c.second_share:g} {prior} + {c.second_share:g} Beta({c.second_a:g}, {c.second_b:g})"
        return f"coin: {c.length} tosses, bias ~ {prior}, generated; {self.describe_seeds()}"
