"""Dynamic N-grams (Graves et al. 2014, section 4.4): predict the bits of a new random N-gram source."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.metrics import Metric
from metacli.tasks.optimum import OPTIMUM, OptimumTasks
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases


class DynamicNgrams(OptimumTasks, Algorithmic):
    """The input is bit t, the answer is bit t + 1. A bit depends on the previous N - 1 bits by a random table.

    Each task draws its table: 2^(N - 1) probabilities ~ Beta(1/2, 1/2), one for each context. D_train is empty. D_test
    is the stream, with input 0 before the first bit. The first N - 1 bits are fair coins. They are scored, at a cost of
    one bit or more each, as in the paper's figures: the optimum over all 200 bits is 133, over the last 195 it is 128.
    """

    cost_unit: ClassVar[str] = "nats per bit"

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
        """Returns the bit of a step."""
        return Bits(1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """See `Tasks.spec_of`: one bit in, one bit out."""
        return Spec("sequence", (1,), 0, 1, config.length)

    def sample_phases(self, rng: CounterRNG, progress: np.ndarray) -> Phases:
        """Generates no input phase, and one answer per bit."""
        context_bits, length = self.config.order - 1, self.config.length
        table = np.sin(0.5 * np.pi * rng.uniform(2**context_bits)) ** 2  # Beta(1/2, 1/2) is the arcsine law
        uniforms = rng.uniform(length)
        bits = np.empty(uniforms.shape, dtype=np.int64)
        context = np.zeros(len(uniforms), dtype=np.int64)  # the last N - 1 bits, the newest in the lowest place
        for t in range(length):
            probability = table[np.arange(len(table)), context] if t >= context_bits else 0.5
            bits[:, t] = uniforms[:, t] < probability
            context = (2 * context + bits[:, t]) % 2**context_bits
        inputs = np.pad(bits, ((0, 0), (1, 0)))[:, :-1]
        empty = np.zeros((len(bits), 0, 1))
        return Phases(empty, empty[..., 0] > 0, inputs[..., None], bits[..., None], np.ones(bits.shape, dtype=bool))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The bits per sequence of the model and of the optimum, as in the paper, then those of `OptimumTasks`."""
        bits, accuracy, _, errors = self.answer.metrics
        return (bits, Metric("optimal_bits", "bits per sequence", None), *super().metrics, accuracy, errors)

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.score`; and `optimal_bits` (B,), the cost of the optimal estimator per sequence."""
        scores = super().score(output, episode)
        return {**scores, "optimal_bits": scores[OPTIMUM] * (self.config.length / math.log(2))}

    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.reference_costs`.

        The optimum is equation 10 of the paper, P(1 | context) = (N1 + 1/2) / (N0 + N1 + 1), and 1/2 for the first
        N - 1 bits. `frequency` is the same estimator without a context.
        """
        bit, n1, n0 = self._count_bits(episode)
        ones = bit.cumsum(1) - bit
        seen = torch.arange(bit.shape[1], device=bit.device)
        probability = {OPTIMUM: (n1 + 0.5) / (n0 + n1 + 1), "frequency": (ones + 0.5) / (seen + 1)}
        return {name: -torch.where(bit > 0.5, p, 1 - p).log() for name, p in probability.items()}

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """See `OptimumTasks.statistics`: the counts after the present context, and the optimal probability of a one."""
        _, n1, n0 = self._count_bits(episode)
        return {"ones_after_context": n1, "zeros_after_context": n0, "probability": (n1 + 0.5) / (n0 + n1 + 1)}

    def _count_bits(self, episode: Episode) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the bits, N1 and N0, (B, Q) each: the ones and zeros so far after the context of each bit."""
        context_bits, bits = self.config.order - 1, episode.y_test[..., 0]
        n_coins = min(context_bits, bits.shape[1])  # the first bits have no context
        coins, bit = bits.split([n_coins, bits.shape[1] - n_coins], 1)
        none = torch.zeros_like(coins)
        if not bit.shape[1]:
            return bits, none, none
        powers = 2 ** torch.arange(context_bits, device=bits.device)
        context = (bits.long()[:, :-1].unfold(1, context_bits, 1) * powers).sum(-1)
        is_context = one_hot(context, 2**context_bits).to(bit.dtype)  # (B, T, 2^(N-1))
        counts = []
        for is_counted in (bit, 1 - bit):
            after = is_context * is_counted[..., None]
            counts.append(torch.cat([none, ((after.cumsum(1) - after) * is_context).sum(-1)], 1))
        return bits, counts[0], counts[1]

    def describe(self) -> str:
        """See `Tasks.describe`."""
        return f"dynamic-ngrams: {self.config.length} bits of a random {self.config.order}-gram source, generated"
