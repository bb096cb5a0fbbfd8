"""Batch norm over a batch divided among several processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metacli.compute.processes import SINGLE_PROCESS, Processes

Norm = nn.modules.batchnorm._BatchNorm


class SyncBatchNorm(Norm):
    """An `nn.BatchNorm1d`, 2d or 3d with statistics over all processes, and the same state_dict."""

    processes: Processes = SINGLE_PROCESS

    def _check_input_dim(self, input: Tensor) -> None:
        """Accepts any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalises (n, C, ...); in training by the statistics of all processes, which updates the running ones."""
        if self.processes.size == 1 or not self.training:
            return super().forward(x)
        return _SyncNormalize.apply(x, self.weight, self.bias, self)


class _SyncNormalize(torch.autograd.Function):
    """y = w z + b, z = (x - mean) / sqrt(variance + eps), with mean and variance over all processes.

    The gradient of x needs sums of the gradient of y over all processes. The gradients of w and b stay this process's
    part, like those of all other weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, norm: SyncBatchNorm) -> Tensor:
        """Maps (n, C, ...) to the same shape and dtype."""
        x_wide = x if x.dtype == torch.float64 else x.float()
        variance, mean = torch.var_mean(x_wide, _reduced_dims(x), correction=0)
        mean, variance, count = merge_statistics(norm, mean, variance, x.numel() // x.shape[1])
        update_running_statistics(norm, mean, variance, count)
        deviation = (variance + norm.eps).rsqrt()
        z = (x_wide - _per_channel(mean, x)) * _per_channel(deviation, x)
        scale = deviation if weight is None else deviation * weight
        ctx.save_for_backward(z, scale)
        ctx.norm, ctx.count = norm, count
        out = z if weight is None or bias is None else z * _per_channel(weight, x) + _per_channel(bias, x)
        return out.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of x, s (g - mean g - z mean(g z)) with s the scale of z, of weight and of bias."""
        z, scale = ctx.saved_tensors
        grad_wide, dims = grad.to(z.dtype), _reduced_dims(grad)
        total, product = grad_wide.sum(dims), (grad_wide * z).sum(dims)
        mean_grad, mean_product = ctx.norm.processes.sum(torch.stack([total, product])) / ctx.count
        grad_x = _per_channel(scale, z) * (grad_wide - _per_channel(mean_grad, z) - z * _per_channel(mean_product, z))
        grad_affine = (None, None) if ctx.norm.weight is None else (product, total)
        return grad_x.to(grad.dtype), *grad_affine, None


def get_processes(norm: Norm) -> Processes:
    """Returns the processes that share a batch norm's batch."""
    return norm.processes if isinstance(norm, SyncBatchNorm) else SINGLE_PROCESS


def merge_statistics(norm: Norm, mean: Tensor, variance: Tensor, count: int) -> tuple[Tensor, Tensor, int | Tensor]:
    """Combines this process's mean and variance (C,), over `count` numbers per channel, with those of the others.

    Returns:
        Mean, variance and count over all processes.
    """
    processes = get_processes(norm)
    if processes.size == 1:
        return mean, variance, count
    mean_wide, variance_wide = mean.double(), variance.double()
    sums = processes.sum(
        torch.cat([mean_wide * count, (variance_wide + mean_wide**2) * count, mean_wide.new_tensor([count])])
    )
    mean_wide, mean_square = (sums[:-1] / sums[-1]).chunk(2)
    return mean_wide.to(mean.dtype), (mean_square - mean_wide**2).clamp_min(0).to(mean.dtype), sums[-1]


@torch.no_grad()
def update_running_statistics(norm: Norm, mean: Tensor, variance: Tensor, count: int | Tensor) -> None:
    """Updates the running statistics, if any, as PyTorch does, from a batch of `count` numbers per channel."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked += 1
    momentum = norm.momentum if norm.momentum is not None else 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), momentum)  # unbiased


def _reduced_dims(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Views (C,) so that it broadcasts with x (n, C, ...)."""
    return values.view(-1, *[1] * (x.dim() - 2))
