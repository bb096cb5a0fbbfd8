"""The arithmetic limit: the floating-point operations of a step, done as fast as this core multiplies matrices.

Counted over one forward and backward pass: 2 m k n for every matrix product and convolution, one for every element
that an element-wise operation gives. Divided by what one product of the step's own size reaches, measured in the same
run, that is a time which no order of the same products can much undercut; a product of 1,024 x 1,024 matrices shows how
far that size itself is from the core's best.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.bench.case import Side

LARGE = (1024, 1024, 1024)
_AT_MOST = 4096  # rows, columns: the rate grows no more, and memory stays small
_ENOUGH = 1e8  # operations of one timed `run`, so that a call's own cost does not count


class Arithmetic(NamedTuple):
    """What a step computes.

    Attributes:
        products: operations of matrix products and convolutions.
        others: operations of the rest, element by element.
        shape: (m, k, n) of the product that most of `products` are in.
    """

    products: float
    others: float
    shape: tuple[int, int, int]

    @property
    def total(self) -> float:
        """All operations of the step."""
        return self.products + self.others


def count(run: Callable[[], Any]) -> Arithmetic:
    """The arithmetic of whatever `run` computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about GPUs, whenever oneDNN is switched
        with torch.backends.mkldnn.flags(enabled=False), _Counting() as counting:  # without it, nn.LSTM is in parts
            run()
    shape = max(counting.shapes, key=lambda s: counting.shapes[s])
    return Arithmetic(sum(counting.shapes.values()), counting.others, shape)


def product(shape: tuple[int, int, int]) -> Side:
    """Matrix products of one shape; `amount` is their operations."""
    m, k, n = (min(size, _AT_MOST) for size in shape)
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    times = math.ceil(_ENOUGH / (2 * m * k * n))

    def run() -> None:
        for _ in range(times):
            torch.mm(a, b, out=out)

    return Side(run, 2.0 * m * k * n * times)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[tuple[int, int, int]] = Counter()
        self.others = 0.0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.shapes[_shape(packet, args)] += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        elif torch.Tag.pointwise in func.tags and isinstance(out, torch.Tensor) and out.is_floating_point():
            self.others += out.numel()
        return out


def _shape(packet: Any, args: Any) -> tuple[int, int, int]:
    """(m, k, n) of a product, or of a convolution of one stride as a product of its patches with its filters."""
    name = packet.__name__
    if name in ("convolution", "convolution_backward"):
        given, weight = (args[0], args[1]) if name == "convolution" else (args[0], args[2])
        return given.numel() // given.shape[1], weight[0].numel(), weight.shape[0]
    a, b = (args[1], args[2]) if name in ("addmm", "baddbmm") else args[:2]
    return a.shape[-2], a.shape[-1], b.shape[-1]
