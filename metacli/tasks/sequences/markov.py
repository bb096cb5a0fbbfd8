"""Markov: predict the next symbol of an unknown Markov chain. The optimum is the posterior predictive."""

from __future__ import annotations

import math
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


class Markov(NextSymbol):
    """A Markov chain per task: every row of its transition matrix is drawn from a symmetric Dirichlet distribution.

    The first symbol is uniform. The others are drawn from Polya's urns, one per row: symbol j follows i with a
    probability proportional to alpha + N_ij, where N_ij counts the transitions so far. This is the distribution of
    chains whose rows are drawn from Dirichlet(alpha, ..., alpha) first.
    """

    cost_unit: ClassVar[str] = "nats per symbol"

    class Config(BaseConfig):
        """Keys of `markov`."""

        name: Literal["markov"] = Field("markov", description="Registered name of the task distribution.")
        symbols: int = Field(4, ge=2, le=50, description="Number of different symbols, the states of the chain.")
        alpha: float = Field(
            0.5, gt=0, le=1000, description="Parameter of the Dirichlet prior. Small values give predictable chains."
        )
        length: int = Field(60, ge=1, le=10_000, description="Symbols per chain.")

    @classmethod
    def count_symbols(cls, config: Config) -> int:
        """See `NextSymbol.count_symbols`."""
        return config.symbols

    def sample_symbols(self, rng: CounterRNG) -> np.ndarray:
        """See `NextSymbol.sample_symbols`."""
        n, uniforms = self.config.symbols, rng.uniform(self.config.length)
        rows = np.arange(len(uniforms))
        weights = np.full((len(rows), n, n), self.config.alpha)
        symbols = np.empty(uniforms.shape, np.int64)
        symbols[:, 0] = uniforms[:, 0] * n
        for t in range(1, self.config.length):
            state = symbols[:, t - 1]
            symbols[:, t] = draw_symbols(uniforms[:, t], weights[rows, state])
            weights[rows, state, symbols[:, t]] += 1
        return symbols

    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.reference_costs`.

        The baselines are `unigram`, (N_j + 1) / (t + n) with N_j the count of symbol j, which ignores the state, and
        `uniform`.
        """
        n, symbols = self.config.symbols, one_hot(episode.y_test[..., 0], self.config.symbols)  # (B, Q, n)
        seen = torch.arange(symbols.shape[1], device=symbols.device)[:, None]
        probability = {
            OPTIMUM: self._predict(self._count_transitions(episode)),
            "unigram": (count_before(symbols) + 1) / (seen + n),
        }
        costs = {name: -(p * symbols).sum(-1).log() for name, p in probability.items()}
        return {**costs, "uniform": torch.full_like(costs[OPTIMUM], math.log(n))}

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.statistics`: N_ij of the present state i and the optimal probability, of each symbol j."""
        counts = self._count_transitions(episode)
        named = {"count": counts, "probability": self._predict(counts)}
        return {f"{name}_{j}": values[..., j] for name, values in named.items() for j in range(self.config.symbols)}

    def _predict(self, counts: Tensor) -> Tensor:
        """Returns the posterior predictive (B, Q, n), (N_ij + alpha) / (sum_j N_ij + n alpha)."""
        return (counts + self.config.alpha) / (counts.sum(-1, keepdim=True) + self.config.symbols * self.config.alpha)

    def _count_transitions(self, episode: Episode) -> Tensor:
        """Returns (B, Q, n), how often each symbol has followed the present state; 0 at the first step."""
        state, following = episode.x_test, one_hot(episode.y_test[..., 0], self.config.symbols)
        earlier = count_before(state[..., None] * following[..., None, :])  # (B, Q, n, n)
        return (state[..., None] * earlier).sum(2)

    def describe(self) -> str:
        """See `Tasks.describe`."""
        c = self.config
        return f"markov: {c.length} steps of a chain of {c.symbols} symbols, rows ~ Dirichlet({c.alpha:g}), generated"
