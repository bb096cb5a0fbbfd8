"""Dynamic N-grams (Graves et al. 2014, section 4.4): learn a new random source from its own stream of bits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.metrics import Metric
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases


class DynamicNgrams(Algorithmic):
    """Bit t is shown, bit t + 1 is to be predicted; each bit depends on the N - 1 before it by a table of the task.

    The table holds 2^(N - 1) probabilities ~ Beta(1/2, 1/2), one for each context. D_train is empty, D_test is the
    stream: 0 is shown before the first bit. The first N - 1 bits are fair coins; they count, one bit each at best,
    as they must in the paper's figures: the optimum over all 200 bits is 133, over the last 195 it is 128.
    """

    class Config(BaseConfig):
        """Keys of `dynamic-ngrams`."""

        name: Literal["dynamic-ngrams"] = Field(
            "dynamic-ngrams", description="Registered name of the task distribution."
        )
        order: int = Field(
            6, ge=2, le=10, description="N, bits of an N-gram: a context of N - 1 bits and the next bit."
        )
        length: int = Field(200, ge=1, le=10_000, description="Bits per stream.")

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """The bits of a step."""
        return Bits(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """One bit in, one bit out."""
        return Spec("sequence", (1,), 0, 1, config.length)

    def draw(self, random: CounterRNG, grown: np.ndarray) -> Phases:
        """No input phase; as many answers as bits."""
        known, length = self.config.order - 1, self.config.length
        table = np.sin(0.5 * np.pi * random.uniform(2**known)) ** 2  # Beta(1/2, 1/2) is the arcsine law
        draws = random.uniform(length)
        bits = np.empty(draws.shape, dtype=np.int64)
        context = np.zeros(len(draws), dtype=np.int64)  # the last N - 1 bits, the newest lowest
        for t in range(length):
            chance = table[np.arange(len(table)), context] if t >= known else 0.5
            bits[:, t] = draws[:, t] < chance
            context = (2 * context + bits[:, t]) % 2**known
        shown = np.pad(bits, ((0, 0), (1, 0)))[:, :-1]
        nothing = np.zeros((len(bits), 0, 1))
        return Phases(nothing, nothing[..., 0] > 0, shown[..., None], bits[..., None], np.ones(bits.shape, dtype=bool))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of bits, and the cost of the best estimator."""
        return (*super().metrics, Metric("optimal_bits", "bits per sequence", None, "optimal_bits_per_sequence"))

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """The scores of every algorithmic task, and `optimal_bits` (B,), the cost of the best estimator there is."""
        return {**super().score(logits, episode), "optimal_bits": self.optimal_bits(episode)}

    def optimal_bits(self, episode: Episode) -> Tensor:
        """(B,) cost in bits of the optimal Bayesian estimator, equation 10 of the paper.

        P(1 | context) = (N1 + 1/2) / (N0 + N1 + 1), with N1 and N0 the ones and zeros seen so far after the context;
        1/2 for the first N - 1 bits.
        """
        known, bits = self.config.order - 1, episode.y_test[..., 0]  # (B, Q)
        if bits.shape[1] <= known:
            return torch.full_like(bits[:, 0], bits.shape[1])
        place = 2 ** torch.arange(known, device=bits.device)
        context = (bits.long()[:, :-1].unfold(1, known, 1) * place).sum(-1)  # (B, T)
        bit = bits[:, known:]  # (B, T)
        here = one_hot(context, 2**known).to(bit.dtype)  # (B, T, 2^(N-1))
        ones = here * bit[..., None]
        seen = ((here.cumsum(1) - here) * here).sum(-1)  # N0 + N1
        seen_ones = ((ones.cumsum(1) - ones) * here).sum(-1)  # N1
        p = (seen_ones + 0.5) / (seen + 1)
        return known - torch.where(bit > 0.5, p, 1 - p).log2().sum(1)

    def describe(self) -> str:
        """One line."""
        return f"dynamic-ngrams: {self.config.length} bits of a random {self.config.order}-gram source, generated"
