"""Compiled memory allocation of one task, with gradients; equations as in `metacli.models.memory.allocation`."""

from __future__ import annotations

import numpy as np

from metacli.models.memory.allocation import USAGE_FLOOR, USAGE_RESOLUTION
from metacli.models.memory.fast.elementwise import Array, compiled


@compiled
def update_usage(previous: Array, write_weights: Array, free_gates: Array, read_weights: Array, usage: Array) -> None:
    """Writes u_t into `usage` (L,).

    Args:
        previous: (L,) u_(t-1).
        write_weights: (L,) w^w_(t-1).
        free_gates: (R,) f^i_t.
        read_weights: (R, L) w^(r,i)_(t-1).
    """
    one = usage.dtype.type(1)  # an integer would turn float32 into float64
    for i in range(len(usage)):
        usage[i] = previous[i] + write_weights[i] - previous[i] * write_weights[i]
    for h in range(len(free_gates)):
        gate = free_gates[h]
        for i in range(len(usage)):
            usage[i] *= one - gate * read_weights[h, i]


@compiled
def update_usage_backward(
    previous: Array,
    write_weights: Array,
    free_gates: Array,
    read_weights: Array,
    d_usage: Array,
    d_write_weights: Array,
    d_free_gates: Array,
    d_read_weights: Array,
) -> None:
    """Gradient of `update_usage`: turns `d_usage` into that of u_(t-1).

    Writes `d_write_weights`, that of w^w_(t-1), and `d_free_gates`; adds to `d_read_weights`.
    """
    locations, one = len(previous), previous.dtype.type(1)
    d_retained, retention = np.empty_like(previous), np.empty_like(previous)
    for h in range(len(free_gates)):
        for i in range(locations):
            used = previous[i] + write_weights[i] - previous[i] * write_weights[i]
            d_retained[i] = d_usage[i] * used  # through 1 - f^h_t w^(r,h)_(t-1) alone
        for other in range(len(free_gates)):
            if other != h:
                gate = free_gates[other]
                for i in range(locations):
                    d_retained[i] *= one - gate * read_weights[other, i]
        gate, total = free_gates[h], previous[0] * 0
        for i in range(locations):
            total -= d_retained[i] * read_weights[h, i]
            d_read_weights[h, i] -= d_retained[i] * gate
        d_free_gates[h] = total
    retention[:] = 1
    for h in range(len(free_gates)):
        gate = free_gates[h]
        for i in range(locations):
            retention[i] *= one - gate * read_weights[h, i]
    for i in range(locations):
        d_used = d_usage[i] * retention[i]
        d_write_weights[i] = d_used * (one - previous[i])
        d_usage[i] = d_used * (one - write_weights[i])


@compiled
def allocation_weighting(usage: Array, order: Array, allocation: Array) -> None:
    """Writes the locations from least to most used, phi_t, into `order` (L,), and a_t into `allocation` (L,)."""
    rounded, resolution = np.empty_like(usage), usage.dtype.type(USAGE_RESOLUTION)
    for i in range(len(usage)):
        rounded[i] = np.rint(usage[i] / resolution)
    order[:] = np.argsort(rounded, kind="mergesort")  # stable: equal usages stay in the order of the locations
    product = 1.0
    for i in order:
        floored = USAGE_FLOOR + (1 - USAGE_FLOOR) * usage[i]
        allocation[i] = (1 - floored) * product
        product *= floored


@compiled
def allocation_weighting_backward(
    usage: Array, order: Array, allocation: Array, d_allocation: Array, d_usage: Array
) -> None:
    """Adds the gradient of `allocation_weighting` to `d_usage` (L,). None passes through the order."""
    products, product, d_later = np.empty(len(usage)), 1.0, 0.0
    for j in range(len(order)):
        products[j] = product  # of the usages before phi_t[j]
        product *= USAGE_FLOOR + (1 - USAGE_FLOOR) * usage[order[j]]
    for j in range(len(order) - 1, -1, -1):
        i = order[j]
        floored = USAGE_FLOOR + (1 - USAGE_FLOOR) * usage[i]
        d_usage[i] += (1 - USAGE_FLOOR) * (d_later / floored - products[j] * d_allocation[i])
        d_later += d_allocation[i] * allocation[i]


@compiled
def write_weighting(allocation: Array, content: Array, gates: Array, write_weights: Array) -> None:
    """Writes w^w_t into `write_weights` (L,), given a_t and c^w_t (L,), and the gates (2,) g^a_t and g^w_t."""
    allocation_gate, write_gate = gates[0], gates[1]
    for i in range(len(allocation)):
        write_weights[i] = write_gate * (content[i] + allocation_gate * (allocation[i] - content[i]))


@compiled
def write_weighting_backward(
    allocation: Array,
    content: Array,
    gates: Array,
    d_write_weights: Array,
    d_allocation: Array,
    d_content: Array,
    d_gates: Array,
) -> None:
    """Writes the gradient of the first three of `write_weighting` into the last three."""
    allocation_gate, write_gate = gates[0], gates[1]
    d_allocation_gate, d_write_gate = gates[0] * 0, gates[0] * 0
    for i in range(len(allocation)):
        d_selected = d_write_weights[i] * write_gate
        difference = allocation[i] - content[i]
        d_write_gate += d_write_weights[i] * (content[i] + allocation_gate * difference)
        d_allocation_gate += d_selected * difference
        d_allocation[i] = d_selected * allocation_gate
        d_content[i] = d_selected - d_allocation[i]
    d_gates[0], d_gates[1] = d_allocation_gate, d_write_gate
