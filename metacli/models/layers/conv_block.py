"""The encoder's convolution blocks in training on a CPU: the plain block's values and gradients, fewer passes.

A block is relu(max_pool2d(norm(conv(x)), 2)). Its arithmetic is small beside its traffic: plain, the large output of
the convolution is written, read for its statistics, normalised into a second tensor as large, and pooled; backward
the same twice over. Three observations save most of that:

- Batch norm is one line per channel, rising where its weight is positive, so pooling may come first: only the
  winners, a quarter, are normalised.
- A convolution is linear, so mean and variance of its output follow from those of its input's 3x3 patches, few
  numbers where the input has one channel. They fold into the convolution's weights before it runs, exactly, and
  autograd carries the gradient through them. What is left needs no second look at all images, so it runs on a few
  at a time, which stay in the processor's cache.
- The gradient of a batch norm is a line in its input, plus what the winners send: one pass, not four.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from metacli.models.layers.sync_batch_norm import Norm, merged, processes_of, track

CACHED = 2**19  # numbers of a part that is worked on at a time: 2 MB, about one core's own cache
pool = torch.ops.aten.max_pool2d_with_indices
threshold_backward = torch.ops.aten.threshold_backward
convolution_backward = torch.ops.aten.convolution_backward


def conv_block(x: Tensor, conv: nn.Conv2d, norm: Norm) -> Tensor:
    """relu(max_pool2d(norm(conv(x)), 2)) as in training; updates the running statistics.

    Args:
        x: (n, C, H, W) in channels_last, H and W at least 2.
        conv: 3x3, padding 1, no bias.
        norm: with weight, bias and running statistics.
    """
    if x.shape[1] > 1 or x.requires_grad:  # too many patches to weigh, or a gradient that they would have to carry
        return NormPool.apply(conv(x), norm.weight, norm.bias, norm)
    kind = x.device.type
    low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    with torch.autocast(kind, enabled=False):
        weight, bias = folded(x, conv.weight, norm)
        return ConvPool.apply(x.to(low), weight.to(low), bias.to(low))


def folded(x: Tensor, weight: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that equals norm(conv(x)); updates the running statistics.

        mean = w . m,   var = w' S w - mean^2

    with m the mean of the input's patches p and S that of their products p p'.

    Args:
        x: (n, 1, H, W).
        weight: (C, 1, 3, 3).
    """
    products, total, many = everywhere(norm, *patch_sums(x), x.shape[0] * x.shape[2] * x.shape[3])
    kernel = weight.double().flatten(1)  # (C, 9)
    mean = kernel @ (total / many)
    variance = ((kernel @ (products / many)) * kernel).sum(1) - mean**2
    mean, variance = mean.to(weight.dtype), variance.clamp_min(0).to(weight.dtype)
    track(norm, mean, variance, many)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return weight * scale.view(-1, 1, 1, 1), norm.bias - scale * mean


@torch.no_grad()
def patch_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over all 3x3 patches p (9,) of the images x (n, 1, H, W): of p p', (9, 9), and of p, (9,), in float64.

    Rows of three lines of an image each, multiplied with one another, hold every product of two pixels of a patch,
    those of patch after patch along a diagonal.
    """
    _, _, height, width = x.shape
    wide = width + 2
    products = x.new_zeros(3 * wide, 3 * wide, dtype=torch.float64)
    total = x.new_zeros(3 * wide, dtype=torch.float64)
    for some in x.split(max(1, CACHED // (3 * height * wide))):
        lines = F.pad(some[:, 0], (1, 1, 1, 1)).unfold(1, 3, 1).mT.reshape(-1, 3 * wide)  # (n H, 3 (W + 2))
        products += lines.T @ lines
        total += lines.sum(0)
    pairs = products.view(3, wide, 3, wide).unfold(1, width, 1).unfold(3, width, 1)  # (3, 3, 3, 3, W, W)
    singles = total.view(3, wide).unfold(1, width, 1)  # (3, 3, W)
    return pairs.diagonal(0, -2, -1).sum(-1).reshape(9, 9), singles.sum(-1).flatten()


def everywhere(norm: Norm, products: Tensor, total: Tensor, many: int) -> tuple[Tensor, Tensor, int | Tensor]:
    """The sums of `patch_sums`, and of how many patches, over the images of all processes."""
    processes = processes_of(norm)
    if processes.size == 1:
        return products, total, many
    sums = processes.sum(torch.cat([products.flatten(), total, total.new_tensor([many])]))
    return sums[:81].view(9, 9), sums[81:90], sums[90]


class ConvPool(torch.autograd.Function):
    """relu(max_pool2d(conv2d(x, weight, bias, padding=1), 2)), some images at a time; x gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(n, C, H, W) to (n, C', H / 2, W / 2), rounded down."""
        shape = x.shape[0], weight.shape[0], x.shape[2] // 2, x.shape[3] // 2
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        places = torch.empty_like(out, dtype=torch.int64)
        for some, to, place in parts(weight.shape[0] * x[0].numel(), x, out, places):
            pool.out(F.conv2d(some, weight, bias, padding=1), [2, 2], out=to, indices=place)
            to.relu_()
        ctx.save_for_backward(x, weight, out, places)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of weight and bias."""
        x, weight, out, places = ctx.saved_tensors
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[0])
        winners = None
        for some, to, place, grad_to in parts(weight.shape[0] * x[0].numel(), x, out, places, grad):
            if winners is None or len(winners) != len(some):
                winners = x.new_empty(len(some), *x.shape[2:], weight.shape[0]).permute(0, 3, 1, 2)
            sent = threshold_backward(grad_to, to, 0)
            rows(winners.zero_()).scatter_(1, rows(place), rows(sent))
            _, by_weight, by_bias = conv_backward(winners, some, weight, [False, True, True])
            grad_weight += by_weight
            grad_bias += by_bias
        return None, grad_weight, grad_bias


class NormPool(torch.autograd.Function):
    """relu(max_pool2d(norm(y), 2)) as in training, pooled before it is normalised."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
        """(n, C, H, W) to (n, C, H / 2, W / 2), rounded down."""
        y = y.contiguous(memory_format=torch.channels_last)
        zero = torch.zeros_like(weight)
        mean, variance = torch.batch_norm_update_stats(y, zero, zero.clone(), 0.0)  # zero momentum: into nothing
        mean, variance, many = merged(norm, mean, variance, y.shape[0] * y.shape[2] * y.shape[3])
        track(norm, mean, variance, many)
        winners, places = pool(y, [2, 2])
        if not (weight > 0).all():  # a channel that batch norm turns upside down or to a constant
            _, places = pool(y * weight.sign().to(y.dtype).view(-1, 1, 1), [2, 2])
            winners = rows(y).gather(1, rows(places)).unflatten(1, places.shape[2:]).permute(0, 3, 1, 2)
        deviation = (variance + norm.eps).rsqrt()
        scale = weight * deviation
        out = torch.addcmul(column(bias - mean * scale), winners, column(scale)).relu_().to(y.dtype)
        ctx.save_for_backward(y, winners, places, out, scale, mean, deviation)
        ctx.processes, ctx.many = processes_of(norm), many
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of y, weight and bias: s (g - mean g - z mean(g z)), z = norm(y) without its weight, s its scale.

        The means are over all processes, the gradients of weight and bias this one's part.
        """
        y, winners, places, out, scale, mean, deviation = ctx.saved_tensors
        sent = threshold_backward(grad, out, 0).to(scale.dtype)  # g, zero but at the winners
        grad_bias = sent.sum((0, 2, 3))
        grad_weight = deviation * ((sent * winners).sum((0, 2, 3)) - mean * grad_bias)
        by_weight, by_bias = ctx.processes.sum(torch.stack([grad_weight, grad_bias]))
        slope = -scale * deviation * by_weight / ctx.many
        level = -scale * by_bias / ctx.many - slope * mean
        sent *= column(scale)
        grad_y = torch.empty_like(y, dtype=scale.dtype)
        for to, some, place, part in parts(y[0].numel(), *map(rows, (grad_y, y, places, sent))):
            torch.addcmul(level, some, slope, out=to).scatter_add_(1, place, part)
        return grad_y.to(y.dtype), grad_weight, grad_bias, None


def conv_backward(grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> Any:
    """The gradients of x, weight and bias of conv2d(x, weight, bias, padding=1), those that are wanted."""
    one = [1, 1]
    return convolution_backward(grad, x, weight, [len(weight)], one, one, one, False, [0, 0], 1, wanted)


def parts(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some images at a time of tensors (n, ...), so many as stay in the cache, where each is `size` numbers."""
    return zip(*(t.split(max(1, CACHED // size)) for t in tensors), strict=True)


def rows(images: Tensor) -> Tensor:
    """(n, C, H, W) in channels_last as (n, H W, C), a view."""
    return images.permute(0, 2, 3, 1).flatten(1, 2)


def column(channels: Tensor) -> Tensor:
    """(C,) as (C, 1, 1)."""
    return channels.view(-1, 1, 1)
