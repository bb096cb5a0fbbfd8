"""`taken` and `moved` of `augment` as compiled loops: straight from bytes, no grid of floats between.

They are compiled at their first call, in about half a second and two, and then kept (`metacli.compute.jit`). No
operation is contracted or reordered, so a result does not depend on the processor's instructions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metacli.compute.jit import loop

WHITE, GREY = np.float32(255), np.float32(1 / 255)
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
BYTE, SECOND, THIRD, FOURTH = np.uint32(255), np.uint32(8), np.uint32(16), np.uint32(24)


def taken(table: Tensor, row: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """See `augment.taken`: the same numbers, bit for bit."""
    x = torch.empty(len(row), table.shape[1])
    _take(table.numpy(), row, x.numpy())
    return x.view(-1, *shape)


def moved(table: Tensor, row: np.ndarray, shape: tuple[int, ...], origin: np.ndarray, shift: np.ndarray) -> Tensor:
    """See `augment.moved`: the same numbers up to the rounding of either, a few millionths."""
    channels, size, _ = shape
    x = torch.empty(len(row), channels, size * size)
    images = table.view(-1, channels, size * size).numpy()
    (a, b), (c, d) = origin.transpose(1, 2, 0)
    (right, down), middle = shift.T, (size - 1) / 2
    start = middle - a * right - b * down, middle - c * right - d * down  # where the centre comes from
    motion = np.stack([a, b, c, d, *start], 1).astype(np.float32)
    place = np.arange(size, dtype=np.float32) - np.float32(middle)
    _move(images, row, motion, np.tile(place, size), np.repeat(place, size), size, x.numpy())
    return x.view(-1, *shape)


@loop
def _take(table, row, x):
    for m in range(len(row)):
        image, out = table[row[m]], x[m]
        for k in range(len(image)):
            out[k] = np.float32(image[k]) / WHITE


@loop
def _move(images, row, motion, across, down, size, x):
    """Each pixel is a mean of the four around the place that it comes from.

    One at a distance d from there weighs max(0, 1 - d) across times the same down. That is bilinear, and needs no
    special case at the edges. Four short loops, each of a kind that compilers make into vector instructions.
    """
    n = size * size
    corner = np.empty(n, np.uint32)  # the upper left of the four; the nearest that has all four where some are outside
    right, below = np.empty(n, np.float32), np.empty(n, np.float32)  # from the corner to the place
    pair = np.zeros(n, np.uint16)  # the bytes of each pixel and of the next
    four = np.empty(n, np.uint32)  # the bytes of the pair at the corner and of the pair under it
    for m in range(len(row)):
        _find(motion[m], across, down, size, corner, right, below)
        for channel in range(images.shape[1]):
            image = images[row[m], channel]
            _pair(image, image[1:], pair)
            _look_up(pair, pair[size:], corner, four)
            _blend(four, right, below, x[m, channel])


@loop
def _find(motion, across, down, size, corner, right, below):
    a, b, c, d, x_0, y_0 = motion
    last, width = np.int32(size - 2), np.int32(size)
    for k in range(len(corner)):
        x = a * across[k] + b * down[k] + x_0
        y = c * across[k] + d * down[k] + y_0
        left, top = min(max(np.int32(x), np.int32(0)), last), min(max(np.int32(y), np.int32(0)), last)
        corner[k] = np.uint32(top * width + left)
        right[k], below[k] = x - np.float32(left), y - np.float32(top)


@loop
def _pair(image, after, pair):
    for k in range(len(after)):
        pair[k] = np.uint16(image[k]) | (np.uint16(after[k]) << SECOND)


@loop
def _look_up(pair, under, corner, four):
    for k in range(len(corner)):
        four[k] = np.uint32(pair[corner[k]]) | (np.uint32(under[corner[k]]) << THIRD)


@loop
def _blend(four, right, below, out):
    for k in range(len(out)):
        pixels, x, y = four[k], right[k], below[k]
        west, east = max(ONE - abs(x), ZERO), max(min(x, TWO - x), ZERO)
        north, south = max(ONE - abs(y), ZERO), max(min(y, TWO - y), ZERO)
        upper = _number(pixels & BYTE) * west + _number((pixels >> SECOND) & BYTE) * east
        lower = _number((pixels >> THIRD) & BYTE) * west + _number(pixels >> FOURTH) * east
        out[k] = (upper * north + lower * south) * GREY


@loop
def _number(byte):
    return np.float32(np.int32(byte))  # signed, as vector instructions convert
