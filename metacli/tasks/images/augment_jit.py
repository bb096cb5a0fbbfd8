"""`gather` and `gather_transformed` of `augment` as compiled loops on bytes, without a grid of floats.

They are compiled at their first call, in about 0.5 and 2 seconds, and then cached (`metacli.compute.jit`). No operation
is contracted or reordered, so results do not depend on the processor's instructions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metacli.compute.jit import loop

WHITE, INVERSE_WHITE = np.float32(255), np.float32(1 / 255)
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
LOW_BYTE, SECOND_BYTE, THIRD_BYTE, FOURTH_BYTE = np.uint32(255), np.uint32(8), np.uint32(16), np.uint32(24)


def gather(table: Tensor, row: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """See `augment.gather`; equal bit for bit."""
    x = torch.empty(len(row), table.shape[1], dtype=torch.float32, device="cpu")
    _gather_kernel(table.numpy(), row, x.numpy())
    return x.view(-1, *shape)


def gather_transformed(
    table: Tensor, row: np.ndarray, shape: tuple[int, ...], origin: np.ndarray, shift: np.ndarray
) -> Tensor:
    """See `augment.gather_transformed`; equal up to rounding, a few millionths."""
    channels, size, _ = shape
    x = torch.empty(len(row), channels, size * size, dtype=torch.float32, device="cpu")
    images = table.view(-1, channels, size * size).numpy()
    (a, b), (c, d) = origin.transpose(1, 2, 0)
    (right, down), centre = shift.T, (size - 1) / 2
    origin_of_zero = centre - a * right - b * down, centre - c * right - d * down  # the source of the centre
    motion = np.stack([a, b, c, d, *origin_of_zero], 1).astype(np.float32)
    coordinate = np.arange(size, dtype=np.float32) - np.float32(centre)
    _transform_kernel(images, row, motion, np.tile(coordinate, size), np.repeat(coordinate, size), size, x.numpy())
    return x.view(-1, *shape)


@loop
def _gather_kernel(table, row, x):
    for m in range(len(row)):
        image, out = table[row[m]], x[m]
        for k in range(len(image)):
            out[k] = np.float32(image[k]) / WHITE


@loop
def _transform_kernel(images, row, motion, across, down, size, x):
    """Computes each pixel by bilinear interpolation from the four pixels around its source.

    A pixel at a distance d from the source has weight max(0, 1 - d) horizontally, times the same vertically. This needs
    no special case at the edges. The work is four short loops, which compilers turn into vector instructions.
    """
    n = size * size
    corners = np.empty(n, np.uint32)  # the upper left of the four pixels, moved inside the image if necessary
    x_offset, y_offset = np.empty(n, np.float32), np.empty(n, np.float32)  # from the corner to the source
    pairs = np.zeros(n, np.uint16)  # the bytes of each pixel and of the next one
    neighbours = np.empty(n, np.uint32)  # the bytes of the pair at the corner and of the pair below
    for m in range(len(row)):
        _locate_corners(motion[m], across, down, size, corners, x_offset, y_offset)
        for channel in range(images.shape[1]):
            image = images[row[m], channel]
            _pair_bytes(image, image[1:], pairs)
            _gather_neighbours(pairs, pairs[size:], corners, neighbours)
            _interpolate(neighbours, x_offset, y_offset, x[m, channel])


@loop
def _locate_corners(motion, across, down, size, corners, x_offset, y_offset):
    a, b, c, d, x_0, y_0 = motion
    last, width = np.int32(size - 2), np.int32(size)
    for k in range(len(corners)):
        x = a * across[k] + b * down[k] + x_0
        y = c * across[k] + d * down[k] + y_0
        left, top = min(max(np.int32(x), np.int32(0)), last), min(max(np.int32(y), np.int32(0)), last)
        corners[k] = np.uint32(top * width + left)
        x_offset[k], y_offset[k] = x - np.float32(left), y - np.float32(top)


@loop
def _pair_bytes(image, next_pixel, pairs):
    for k in range(len(next_pixel)):
        pairs[k] = np.uint16(image[k]) | (np.uint16(next_pixel[k]) << SECOND_BYTE)


@loop
def _gather_neighbours(pairs, pairs_below, corners, neighbours):
    for k in range(len(corners)):
        neighbours[k] = np.uint32(pairs[corners[k]]) | (np.uint32(pairs_below[corners[k]]) << THIRD_BYTE)


@loop
def _interpolate(neighbours, x_offset, y_offset, out):
    for k in range(len(out)):
        pixels, x, y = neighbours[k], x_offset[k], y_offset[k]
        west, east = max(ONE - abs(x), ZERO), max(min(x, TWO - x), ZERO)
        north, south = max(ONE - abs(y), ZERO), max(min(y, TWO - y), ZERO)
        upper = _to_float(pixels & LOW_BYTE) * west + _to_float((pixels >> SECOND_BYTE) & LOW_BYTE) * east
        lower = _to_float((pixels >> THIRD_BYTE) & LOW_BYTE) * west + _to_float(pixels >> FOURTH_BYTE) * east
        out[k] = (upper * north + lower * south) * INVERSE_WHITE


@loop
def _to_float(byte):
    return np.float32(np.int32(byte))  # signed, because vector instructions convert signed integers only
