"""Weightings moved around the ring of locations, compiled; see `metacli.models.memory.addressing.circular_shift`."""

from __future__ import annotations

from metacli.models.memory.fast.rows import Array, compiled


@compiled
def turn(weights: Array, shift: Array, sign: int, out: Array) -> None:
    """sum_o s(o) w(i - sign o), indices modulo L, into `out` (L,)."""
    locations, reach = len(weights), len(shift) // 2
    out[:] = 0
    for o in range(len(shift)):
        move = (sign * (o - reach)) % locations
        share = shift[o]
        for i in range(move):
            out[i] += share * weights[i - move + locations]
        for i in range(move, locations):
            out[i] += share * weights[i - move]


@compiled
def along(a: Array, b: Array, move: int) -> float:
    """sum_i a(i) b(i - move), indices modulo L."""
    locations, total = len(a), a[0] * 0
    move %= locations
    for i in range(move):
        total += a[i] * b[i - move + locations]
    for i in range(move, locations):
        total += a[i] * b[i - move]
    return total
