"""Compiled circular convolution of weightings; see `metacli.models.memory.addressing.circular_shift`."""

from __future__ import annotations

from metacli.models.memory.fast.elementwise import Array, compiled


@compiled
def rotate_weights(weights: Array, shift: Array, sign: int, out: Array) -> None:
    """Writes sum_o s(o) w(i - sign o), indices modulo L, into `out` (L,)."""
    locations, max_offset = len(weights), len(shift) // 2
    out[:] = 0
    for o in range(len(shift)):
        offset = (sign * (o - max_offset)) % locations
        share = shift[o]
        for i in range(offset):
            out[i] += share * weights[i - offset + locations]
        for i in range(offset, locations):
            out[i] += share * weights[i - offset]


@compiled
def correlate(a: Array, b: Array, offset: int) -> float:
    """Returns sum_i a(i) b(i - offset), indices modulo L."""
    locations, total = len(a), a[0] * 0
    offset %= locations
    for i in range(offset):
        total += a[i] * b[i - offset + locations]
    for i in range(offset, locations):
        total += a[i] * b[i - offset]
    return total
