"""Batch norm whose batch lies in several processes: mean, variance and gradient are those of all of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metacli.compute.processes import SINGLE_PROCESS, Processes

Norm = nn.modules.batchnorm._BatchNorm


class BatchNorm(Norm):
    """An `nn.BatchNorm1d`, 2d or 3d over the batches of several processes, with the same state_dict."""

    processes: Processes = SINGLE_PROCESS

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, C, ...) normalised; in training by the statistics of every process's items, updating the running ones."""
        if self.processes.size == 1 or not self.training:
            return super().forward(x)
        return Normalised.apply(x, self.weight, self.bias, self)


class Normalised(torch.autograd.Function):
    """y = w z + b, z = (x - mean) / sqrt(variance + eps), over all processes.

    The gradient of x follows from sums of that of y over all processes, where each process has that of its own part of
    the common loss; those of w and b are left as this process's part, like those of all other weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, norm: BatchNorm) -> Tensor:
        """(n, C, ...) to the same shape and type."""
        wide = x if x.dtype == torch.float64 else x.float()
        variance, mean = torch.var_mean(wide, _all_but_channels(x), correction=0)
        mean, variance, many = merged(norm, mean, variance, x.numel() // x.shape[1])
        track(norm, mean, variance, many)
        deviation = (variance + norm.eps).rsqrt()
        z = (wide - _channels(mean, x)) * _channels(deviation, x)
        scale = deviation if weight is None else deviation * weight
        ctx.save_for_backward(z, scale)
        ctx.norm, ctx.many = norm, many
        out = z if weight is None or bias is None else z * _channels(weight, x) + _channels(bias, x)
        return out.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of x: s (g - mean g - z mean(g z)), s the scale of z; of weight and bias."""
        z, scale = ctx.saved_tensors
        wide, dims = grad.to(z.dtype), _all_but_channels(grad)
        total, product = wide.sum(dims), (wide * z).sum(dims)
        level, slope = ctx.norm.processes.sum(torch.stack([total, product])) / ctx.many
        grad_x = _channels(scale, z) * (wide - _channels(level, z) - z * _channels(slope, z))
        own = (None, None) if ctx.norm.weight is None else (product, total)
        return grad_x.to(grad.dtype), *own, None


def processes_of(norm: Norm) -> Processes:
    """The processes that a batch norm's batch lies in."""
    return norm.processes if isinstance(norm, BatchNorm) else SINGLE_PROCESS


def merged(norm: Norm, mean: Tensor, variance: Tensor, many: int) -> tuple[Tensor, Tensor, int | Tensor]:
    """Mean and variance (C,) of the numbers of all processes, and how many they are, from those of this one's."""
    processes = processes_of(norm)
    if processes.size == 1:
        return mean, variance, many
    m, v = mean.double(), variance.double()
    sums = processes.sum(torch.cat([m * many, (v + m**2) * many, m.new_tensor([many])]))
    m, square = (sums[:-1] / sums[-1]).chunk(2)
    return m.to(mean.dtype), (square - m**2).clamp_min(0).to(mean.dtype), sums[-1]


@torch.no_grad()
def track(norm: Norm, mean: Tensor, variance: Tensor, many: int | Tensor) -> None:
    """Update the running statistics, if any, with those of a batch of `many` numbers per channel, as PyTorch does."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    part = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, part)
    norm.running_var.lerp_(variance * (many / (many - 1)), part)  # unbiased


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) to stand beside x (n, C, ...)."""
    return values.view(-1, *[1] * (x.dim() - 2))
