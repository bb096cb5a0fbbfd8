"""Gaussian: an answer is real numbers, predicted as a normal distribution each."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Decoded
from metacli.tasks.answers.reals import Reals
from metacli.tasks.metrics import Metric

MIN_SCALE = 1e-3  # without a lower bound, one exact prediction would make the likelihood infinite
_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


class Gaussian(Reals):
    """C real numbers, each predicted as the mean and the scale (standard deviation) of a normal distribution.

    The logits are C means, then C numbers s with scale = MIN_SCALE + softplus(s). Labels are those of `Reals`.
    """

    def __init__(self, count: int = 1):
        super().__init__(count)
        self.size = 2 * count
        self.metrics = Metric("loss", "nats per number", False), Metric("squared_error", "", False)

    def __str__(self) -> str:
        """As in `1 real number with its scale`."""
        return f"{super().__str__()} with {'their scales' if self.components > 1 else 'its scale'}"

    def distribution(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and scale, (B, Q, C) each."""
        mean, raw_scale = logits.float().chunk(2, -1)
        return mean, MIN_SCALE + F.softplus(raw_scale)

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns the negative log likelihood of each number, in nats; negative where the density is above 1."""
        return gaussian_nll(*self.distribution(logits), answer)

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """Returns `squared_error`, the mean squared error of the mean."""
        error = super().cost(self.distribution(logits)[0], answer)
        error = error if scored is None else error.masked_fill(~scored[..., None], 0.0)
        return super().scores(logits, answer, error, scored)

    def headline(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> Tensor:
        """Returns `loss`, the mean cost."""
        return cost.mean((1, 2)) if scored is None else cost.sum((1, 2)) / (scored.sum(1) * self.components)

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Returns mean and scale."""
        mean, scale = self.distribution(torch.from_numpy(logits))
        return Decoded(mean.numpy(), None, None, None, scale.numpy())


def gaussian_nll(mean: Tensor, scale: Tensor, value: Tensor) -> Tensor:
    """Returns -log N(value; mean, scale^2) in nats, elementwise."""
    return 0.5 * ((value - mean) / scale).square() + scale.log() + _HALF_LOG_2_PI
