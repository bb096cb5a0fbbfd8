"""Fast convolution blocks on a CPU: the plain block's values and gradients, with less memory traffic.

`conv_block` is for training. `fixed_conv_block` is for an encoder in eval mode, without gradients.

A block is relu(max_pool2d(norm(conv(x)), 2)). Memory traffic dominates its time in training. The plain block writes the
large output of the convolution, reads it for its statistics, writes a normalised tensor of the same size, and pools it.
Backward does the same twice. Three observations save most of that:

- Batch norm is linear per channel, increasing where its weight is positive, so pooling may come first. Only the
  maxima, a quarter of the values, are normalised.
- A convolution is linear, so the mean and variance of its output follow from those of its input's 3x3 patches, which
  are few numbers for an input with one channel. They are folded into the convolution's weights before it runs. This is
  exact, and autograd computes the gradient. The rest then runs on chunks of images that fit into the cache.
- The gradient of batch norm is linear in its input, plus the gradient of the maxima: one pass instead of four.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from metacli.models.layers.sync_batch_norm import Norm, get_processes, merge_statistics, update_running_statistics

CHUNK_SIZE = 2**19  # numbers in a chunk: 2 MB, about the cache of one core
max_pool = torch.ops.aten.max_pool2d_with_indices
threshold_backward = torch.ops.aten.threshold_backward
convolution_backward = torch.ops.aten.convolution_backward


def conv_block(x: Tensor, conv: nn.Conv2d, norm: Norm) -> Tensor:
    """Returns relu(max_pool2d(norm(conv(x)), 2)) as in training; updates the running statistics.

    Args:
        x: (n, C, H, W) in channels_last, H and W at least 2.
        conv: 3x3, padding 1, no bias.
        norm: with weight, bias and running statistics.
    """
    if x.shape[1] > 1 or x.requires_grad:  # folding pays off for one channel only, and gives x no gradient
        return NormPool.apply(conv(x), norm.weight, norm.bias, norm)
    dtype = computing_dtype(x)
    with torch.autocast(x.device.type, enabled=False):
        weight, bias = fold_batch_norm(x, conv.weight, norm)
        return ConvPool.apply(x.to(dtype), weight.to(dtype), bias.to(dtype))


def fixed_conv_block(x: Tensor, conv: nn.Conv2d, norm: Norm, pools: bool) -> Tensor:
    """Returns relu(max_pool2d(norm(conv(x)), 2)) by the running statistics; without the pooling unless `pools`.

    Batch norm is folded into the convolution at each call, so that it follows every change of the weights.

    Args:
        x: (n, C, H, W) in channels_last; gets no gradient.
        conv: 3x3, padding 1, no bias.
        norm: with weight, bias and running statistics.
        pools: H and W are at least 2.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    x = x.to(computing_dtype(x))
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight = (conv.weight * scale.view(-1, 1, 1, 1)).to(x.dtype)
        bias = (norm.bias - scale * norm.running_mean).to(x.dtype)
        if not pools:
            return F.conv2d(x, weight, bias, padding=1).relu_()
        chunks = split_into_chunks(len(weight) * x[0, 0].numel(), x)
        return torch.cat([pool_maxima(F.conv2d(chunk, weight, bias, padding=1)).relu_() for (chunk,) in chunks])


def pool_maxima(x: Tensor) -> Tensor:
    """Returns max_pool2d(x, 2) without the indices, which `max_pool2d` always computes.

    Args:
        x: (n, C, H, W) in channels_last.
    """
    height, width = (side // 2 * 2 for side in x.shape[2:])
    rows = x.permute(0, 2, 3, 1)[:, :height, :width]
    halved = torch.maximum(rows[:, ::2], rows[:, 1::2])
    return torch.maximum(halved[:, :, ::2], halved[:, :, 1::2]).permute(0, 3, 1, 2)


def fold_batch_norm(x: Tensor, weight: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of the convolution that equals norm(conv(x)); updates the running statistics.

        mean = w . m,   var = w' S w - mean^2

    with m the mean of the input's patches p and S that of their products p p'.

    Args:
        x: (n, 1, H, W).
        weight: (C, 1, 3, 3).
    """
    products, total, count = sum_over_processes(norm, *patch_sums(x), x.shape[0] * x.shape[2] * x.shape[3])
    kernel = weight.double().flatten(1)  # (C, 9)
    mean = kernel @ (total / count)
    variance = ((kernel @ (products / count)) * kernel).sum(1) - mean**2
    mean, variance = mean.to(weight.dtype), variance.clamp_min(0).to(weight.dtype)
    update_running_statistics(norm, mean, variance, count)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return weight * scale.view(-1, 1, 1, 1), norm.bias - scale * mean


@torch.no_grad()
def patch_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sums of p p' (9, 9) and of p (9,) over all 3x3 patches p of the images x (n, 1, H, W), in float64.

    Three lines of an image form a row. The product of all rows with each other holds every product of two pixels of a
    patch; those of successive patches lie along a diagonal.
    """
    _, _, height, width = x.shape
    padded_width = width + 2
    products = x.new_zeros(3 * padded_width, 3 * padded_width, dtype=torch.float64)
    total = x.new_zeros(3 * padded_width, dtype=torch.float64)
    for chunk in x.split(max(1, CHUNK_SIZE // (3 * height * padded_width))):
        lines = F.pad(chunk[:, 0], (1, 1, 1, 1)).unfold(1, 3, 1).mT.reshape(-1, 3 * padded_width)  # (n H, 3 (W + 2))
        products += lines.T @ lines
        total += lines.sum(0)
    pairs = (
        products.view(3, padded_width, 3, padded_width).unfold(1, width, 1).unfold(3, width, 1)
    )  # (3, 3, 3, 3, W, W)
    singles = total.view(3, padded_width).unfold(1, width, 1)  # (3, 3, W)
    return pairs.diagonal(0, -2, -1).sum(-1).reshape(9, 9), singles.sum(-1).flatten()


def sum_over_processes(norm: Norm, products: Tensor, total: Tensor, count: int) -> tuple[Tensor, Tensor, int | Tensor]:
    """Returns the sums of `patch_sums` and the number of patches, over the images of all processes."""
    processes = get_processes(norm)
    if processes.size == 1:
        return products, total, count
    sums = processes.sum(torch.cat([products.flatten(), total, total.new_tensor([count])]))
    return sums[:81].view(9, 9), sums[81:90], sums[90]


class ConvPool(torch.autograd.Function):
    """relu(max_pool2d(conv2d(x, weight, bias, padding=1), 2)), in chunks of images; x gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Maps (n, C, H, W) to (n, C', H / 2, W / 2), rounded down."""
        shape = x.shape[0], weight.shape[0], x.shape[2] // 2, x.shape[3] // 2
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        indices = torch.empty_like(out, dtype=torch.int64)
        for chunk, chunk_out, chunk_indices in split_into_chunks(weight.shape[0] * x[0].numel(), x, out, indices):
            max_pool.out(F.conv2d(chunk, weight, bias, padding=1), [2, 2], out=chunk_out, indices=chunk_indices)
            chunk_out.relu_()
        ctx.save_for_backward(x, weight, out, indices)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of weight and bias."""
        x, weight, out, indices = ctx.saved_tensors
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[0])
        grad_conv = None
        for chunk, chunk_out, chunk_indices, chunk_grad in split_into_chunks(
            weight.shape[0] * x[0].numel(), x, out, indices, grad
        ):
            if grad_conv is None or len(grad_conv) != len(chunk):
                grad_conv = x.new_empty(len(chunk), *x.shape[2:], weight.shape[0]).permute(0, 3, 1, 2)
            grad_pooled = threshold_backward(chunk_grad, chunk_out, 0)
            flatten_pixels(grad_conv.zero_()).scatter_(1, flatten_pixels(chunk_indices), flatten_pixels(grad_pooled))
            _, chunk_grad_weight, chunk_grad_bias = conv_backward(grad_conv, chunk, weight, [False, True, True])
            grad_weight += chunk_grad_weight
            grad_bias += chunk_grad_bias
        return None, grad_weight, grad_bias


class NormPool(torch.autograd.Function):
    """relu(max_pool2d(norm(y), 2)) as in training, pooled before normalisation."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
        """Maps (n, C, H, W) to (n, C, H / 2, W / 2), rounded down."""
        y = y.contiguous(memory_format=torch.channels_last)
        zero = torch.zeros_like(weight)
        mean, variance = torch.batch_norm_update_stats(y, zero, zero.clone(), 0.0)  # momentum 0
        mean, variance, count = merge_statistics(norm, mean, variance, y.shape[0] * y.shape[2] * y.shape[3])
        update_running_statistics(norm, mean, variance, count)
        maxima, indices = max_pool(y, [2, 2])
        if not (weight > 0).all():  # batch norm reverses the order in such a channel, or makes it constant
            _, indices = max_pool(y * weight.sign().to(y.dtype).view(-1, 1, 1), [2, 2])
            maxima = (
                flatten_pixels(y).gather(1, flatten_pixels(indices)).unflatten(1, indices.shape[2:]).permute(0, 3, 1, 2)
            )
        deviation = (variance + norm.eps).rsqrt()
        scale = weight * deviation
        out = torch.addcmul(as_column(bias - mean * scale), maxima, as_column(scale)).relu_().to(y.dtype)
        ctx.save_for_backward(y, maxima, indices, out, scale, mean, deviation)
        ctx.processes, ctx.count = get_processes(norm), count
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of y, weight and bias.

        That of y is s (g - mean g - z mean(g z)), with z = norm(y) without its weight, and s its scale. The means are
        over all processes. The gradients of weight and bias are this process's part.
        """
        y, maxima, indices, out, scale, mean, deviation = ctx.saved_tensors
        grad_pooled = threshold_backward(grad, out, 0).to(scale.dtype)  # g, zero except at the maxima
        grad_bias = grad_pooled.sum((0, 2, 3))
        grad_weight = deviation * ((grad_pooled * maxima).sum((0, 2, 3)) - mean * grad_bias)
        total_grad_weight, total_grad_bias = ctx.processes.sum(torch.stack([grad_weight, grad_bias]))
        slope = -scale * deviation * total_grad_weight / ctx.count
        offset = -scale * total_grad_bias / ctx.count - slope * mean
        grad_pooled *= as_column(scale)
        grad_y = torch.empty_like(y, dtype=scale.dtype)
        for chunk_out, chunk, chunk_indices, chunk_grad in split_into_chunks(
            y[0].numel(), *map(flatten_pixels, (grad_y, y, indices, grad_pooled))
        ):
            torch.addcmul(offset, chunk, slope, out=chunk_out).scatter_add_(1, chunk_indices, chunk_grad)
        return grad_y.to(y.dtype), grad_weight, grad_bias, None


def conv_backward(grad: Tensor, x: Tensor, weight: Tensor, output_mask: list[bool]) -> Any:
    """Returns the gradients of x, weight and bias of conv2d(x, weight, bias, padding=1) where `output_mask` is True."""
    ones = [1, 1]
    return convolution_backward(grad, x, weight, [len(weight)], ones, ones, ones, False, [0, 0], 1, output_mask)


def computing_dtype(x: Tensor) -> torch.dtype:
    """Returns the dtype in which a convolution of x computes: that of autocast if it is enabled."""
    device_type = x.device.type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else x.dtype


def split_into_chunks(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Splits tensors (n, ...) into chunks that fit into the cache.

    Args:
        size: numbers per image.
    """
    return zip(*(t.split(max(1, CHUNK_SIZE // size)) for t in tensors), strict=True)


def flatten_pixels(images: Tensor) -> Tensor:
    """Views (n, C, H, W) in channels_last as (n, H W, C)."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


def as_column(channels: Tensor) -> Tensor:
    """Views (C,) as (C, 1, 1)."""
    return channels.view(-1, 1, 1)
