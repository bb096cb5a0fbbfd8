"""The arithmetic floor: the time that the matrix products of a step take at the highest rate that this machine reaches.

Products are counted over one forward and backward pass, 2 m k n operations each, separately for each precision. Only
products that every implementation needs are counted:

- matrix products and convolutions; no element-wise operations,
- of a convolution no products with the padding,
- no convolution over one channel: pooling leaves at least three quarters of its output's gradient zero.

The rate is that of the fastest run of several large products and a convolution, measured in turn with the
implementations. So nothing that computes the same in the same precision can be faster.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.bench.case import Implementation

SIZES = (512, 1024, 2048)  # of square products
CONVOLUTION = (64, 64, 28, 28)  # images, channels, height, width
PRECISIONS = (torch.float32, torch.bfloat16)  # float64 is for statistics, which an implementation may do without
MINIMUM = 1e8  # operations of one timed run, so that the cost of calls does not count

Operations = dict[torch.dtype, float]


def count(run: Callable[[], Any]) -> Operations:
    """Returns the operations of the products in `run`, by precision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about GPUs whenever oneDNN is switched
        with torch.backends.mkldnn.flags(enabled=False), _Counting() as counting:  # oneDNN's LSTM is one operation
            run()
    return dict(counting.operations)


def large_products(dtype: torch.dtype) -> dict[str, Implementation]:
    """Returns the products that the rate is measured with; `amount` is their operations."""
    products = {}
    for size in SIZES:
        a, b, out = (torch.randn(size, size).to(dtype) for _ in range(3))
        products[f"product of {size} x {size}"] = _repeat(partial(torch.mm, a, b, out=out), 2.0 * size**3)
    x = torch.randn(CONVOLUTION).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(CONVOLUTION[1], CONVOLUTION[1], 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    convolve = torch.no_grad()(partial(F.conv2d, x, weight, padding=1))
    operations = 2.0 * x.numel() * weight[0].numel() * _share_inside(x, weight, [1, 1], [1, 1], [1, 1])
    return {**products, "convolution": _repeat(convolve, operations)}


def seconds(operations: Operations, rates: dict[torch.dtype, float]) -> float:
    """Returns the floor.

    Args:
        operations: see `count`.
        rates: operations per second of each precision.
    """
    return sum(number / rates[dtype] for dtype, number in operations.items())


def _repeat(run: Callable[[], Any], operations: float) -> Implementation:
    times = math.ceil(MINIMUM / operations)

    def run_all() -> None:
        for _ in range(times):
            run()

    return Implementation(run_all, operations * times)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[torch.dtype] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry and args[1].dtype in PRECISIONS:
            operations = flop_registry[packet](*args, **(kwargs or {}), out_val=out)
            if packet.__name__ in ("convolution", "convolution_backward"):
                operations *= _needed_share(packet.__name__, args)
            self.operations[args[1].dtype] += operations
        return out


def _needed_share(name: str, args: Any) -> float:
    """Returns the share of a convolution's products that are counted."""
    x, weight = args[:2] if name == "convolution" else args[1:3]
    stride, padding, dilation = args[3:6] if name == "convolution" else args[4:7]
    return _share_inside(x, weight, stride, padding, dilation) if x.shape[1] > 1 else 0.0


def _share_inside(x: Any, weight: Any, *geometry: list[int]) -> float:
    """Returns the share of a convolution's products whose input is not padding."""
    share = 1.0
    for size, kernel, stride, padding, dilation in zip(x.shape[2:], weight.shape[2:], *geometry, strict=True):
        outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        inside = sum(0 <= o * stride - padding + k * dilation < size for o in range(outputs) for k in range(kernel))
        share *= inside / (outputs * kernel)
    return share
