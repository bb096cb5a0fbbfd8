"""The exact posterior of a Gaussian process whose length and output scale are unknown, by quadrature."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.tasks.answers import gaussian_nll

NODES = 32, 16  # lengths, scales


class Grid(NamedTuple):
    """Nodes of a quadrature over G length scales and H output scales.

    Attributes:
        lengths: (G,) float64.
        scales: (H,) float64.
        log_weights: (G, H) float64, the logarithms of weights with sum 1.
    """

    lengths: Tensor
    scales: Tensor
    log_weights: Tensor

    @classmethod
    def uniform(cls, length: tuple[float, float], scale: tuple[float, float], nodes: tuple[int, int] = NODES) -> Grid:
        """Returns the nodes for independent uniform distributions over two positive ranges.

        Gauss-Legendre quadrature over the logarithms: the likelihood is about equally narrow in them everywhere. With
        32 x 16 nodes, the cost of a query from 46 points is within 0.002 nats of that with 128 x 64 nodes, and the mean
        cost within 4e-6.
        """
        (lengths, length_weights), (scales, scale_weights) = (
            _log_nodes(*bounds, count) for bounds, count in zip((length, scale), nodes, strict=True)
        )
        return cls(lengths, scales, (length_weights[:, None] * scale_weights).log())

    @classmethod
    def single(cls, length: float, scale: float) -> Grid:
        """Returns the grid of one known length and one known scale."""
        one = torch.ones(1, dtype=torch.float64)
        return cls(length * one, scale * one, 0 * one[:, None])


class Mixture(NamedTuple):
    """A mixture of M normal distributions for each of Q queries, float64.

    Attributes:
        log_weights: (B, M), the logarithms of weights with sum 1.
        mean: (B, M, Q).
        variance: (B, M, Q).
    """

    log_weights: Tensor
    mean: Tensor
    variance: Tensor

    def nll(self, value: Tensor) -> Tensor:
        """Returns the negative log density (B, Q) at values (B, Q), in nats."""
        nll = gaussian_nll(self.mean, self.variance.sqrt(), value[:, None])
        return -(self.log_weights[..., None] - nll).logsumexp(1)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Returns the mean and the standard deviation, (B, Q) each."""
        weights = self.log_weights.exp()[..., None]
        mean = (weights * self.mean).sum(1)
        return mean, (weights * (self.variance + (self.mean - mean[:, None]).square())).sum(1).sqrt()


def infer_posterior(
    x_train: Tensor, y_train: Tensor, x_test: Tensor, grid: Grid, noise: float, mask: Tensor | None = None
) -> Mixture:
    """Returns the posterior predictive distribution of y = f(x) + noise at x_test, f ~ GP(0, a^2 k_l).

    k_l(x, x') = exp(-(x - x')^2 / (2 l^2)). A component for each node (l, a) of the grid has weight p(l, a | D_train).
    With k_l(X, X) = U diag(e) U^T the covariance of D_train is U diag(a^2 e + noise^2) U^T, so a single decomposition
    serves all a.

    Args:
        x_train: (B, S).
        y_train: (B, S).
        x_test: (B, Q).
        noise: its standard deviation, above 0.
        mask: (B, S) bool, False at padding. None: no padding.
    """
    x_train, y_train, x_test = (t.double() for t in (x_train, y_train, x_test))
    grid = Grid(*(t.to(x_train.device) for t in grid))
    power, noise_power = grid.scales[:, None].square(), noise**2  # a^2 (H, 1)
    parts = []
    for length in grid.lengths:
        kernel, cross = _kernel(x_train, x_train, length), _kernel(x_train, x_test, length)
        if mask is not None:  # padding is independent of everything else
            kernel, cross = kernel * (mask[:, :, None] & mask[:, None]), cross * mask[..., None]
            y_train = y_train * mask
        spectrum, basis = torch.linalg.eigh(kernel)  # e (B, S)
        y, k = (basis.mT @ y_train[..., None])[..., 0], basis.mT @ cross  # (B, S), (B, S, Q)
        inverse = 1 / (power * spectrum.clamp_min(0)[:, None] + noise_power)  # (B, H, S)
        log_likelihood = 0.5 * (inverse.log() - y[:, None].square() * inverse).sum(2)  # (B, H), up to a constant
        gain = power * inverse
        variance = power * (1 - gain @ k.square()) + noise_power  # (B, H, Q)
        parts.append((log_likelihood, (gain * y[:, None]) @ k, variance))
    likelihoods, means, variances = zip(*parts, strict=True)
    log_weights = (torch.stack(likelihoods, 1) + grid.log_weights).flatten(1)
    return Mixture(log_weights.log_softmax(1), torch.cat(means, 1), torch.cat(variances, 1))


def _kernel(x: Tensor, other: Tensor, length: Tensor) -> Tensor:
    """Returns (B, S, T), the correlations of f at x (B, S) and other (B, T)."""
    return (-0.5 * ((x[:, :, None] - other[:, None]) / length).square()).exp()


def _log_nodes(low: float, high: float, count: int) -> tuple[Tensor, Tensor]:
    """Returns nodes and weights (count,) of a uniform distribution from low to high."""
    position, weight = np.polynomial.legendre.leggauss(count)
    nodes = np.exp(math.log(low) + (math.log(high) - math.log(low)) * (position + 1) / 2)
    weight = weight * nodes  # the density of the logarithm is proportional to the value
    return torch.from_numpy(nodes), torch.from_numpy(weight / weight.sum())
