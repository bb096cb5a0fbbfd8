"""The interface of a DNC of one task, compiled; ranges as in `DNCAccess.parse_interface`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.models.memory.fast import elementwise, kernels
from metacli.models.memory.fast.elementwise import Array, compiled


class Interface(NamedTuple):
    """The parameters that the heads emit, or their gradients, in the order of the interface."""

    read_keys: Array  # (R, W) k^(r,i)_t
    read_strengths: Array  # (R,) beta^(r,i)_t
    write_key: Array  # (1, W) k^w_t
    write_strength: Array  # (1,) beta^w_t
    erase: Array  # (1, W) e_t
    write_vector: Array  # (1, W) v_t
    free_gates: Array  # (R,) f^i_t
    gates: Array  # (2,) g^a_t, g^w_t
    read_modes: Array  # (R, 3) pi^i_t


@compiled
def split_interface(interface: Array, heads: int, width: int) -> Interface:
    """Returns views of an interface (I,)."""
    read_strengths = heads * width
    write_key = read_strengths + heads
    write_strength = write_key + width
    erase = write_strength + 1
    write_vector = erase + width
    free_gates = write_vector + width
    gates = free_gates + heads
    read_modes = gates + 2
    return Interface(
        interface[:read_strengths].reshape(heads, width),
        interface[read_strengths:write_key],
        interface[write_key:write_strength].reshape(1, width),
        interface[write_strength:erase],
        interface[erase:write_vector].reshape(1, width),
        interface[write_vector:free_gates].reshape(1, width),
        interface[free_gates:gates],
        interface[gates:read_modes],
        interface[read_modes:].reshape(heads, 3),
    )


@compiled
def parse_interface(
    interface: Array, parameters: Array, inverse_keys: Array, heads: int, width: int, bits: Array
) -> Interface:
    """Writes the parameters in their ranges, with keys of norm 1, into `parameters` (I,), and returns views of it.

    Args:
        interface: (I,).
        inverse_keys: (R + 1,) to which 1 / |k| of the read keys and the write key is written.
        bits: as in `elementwise.exp`.
    """
    parameters[:] = interface
    p = split_interface(parameters, heads, width)
    for h in range(heads):
        inverse_keys[h] = kernels.normalize(p.read_keys[h], p.read_keys[h])
        p.read_strengths[h] = 1 + elementwise.softplus(p.read_strengths[h])
        kernels.softmax(p.read_modes[h], p.read_modes[h], bits)
    inverse_keys[heads] = kernels.normalize(p.write_key[0], p.write_key[0])
    p.write_strength[0] = 1 + elementwise.softplus(p.write_strength[0])
    elementwise.sigmoid(p.erase[0], p.erase[0], bits)
    elementwise.sigmoid(p.free_gates, p.free_gates, bits)
    elementwise.sigmoid(p.gates, p.gates, bits)
    return p


@compiled
def parse_interface_backward(
    p: Interface, inverse_keys: Array, d_read_keys: Array, d_write_key: Array, d_p: Interface
) -> None:
    """Turns `d_p`, the gradient of the parameters in their ranges, into that of the interface.

    Args:
        p: the parameters, as from `parse_interface`.
        d_read_keys: (R, W), and `d_write_key` (1, W): the gradient of the keys of norm 1; those of `d_p` are 0.
    """
    for h in range(len(d_read_keys)):
        kernels.normalize_backward(p.read_keys[h], inverse_keys[h], d_read_keys[h], d_p.read_keys[h])
        d_p.read_strengths[h] *= 1 - np.exp(1 - p.read_strengths[h])
        kernels.softmax_backward(p.read_modes[h], d_p.read_modes[h])
    kernels.normalize_backward(p.write_key[0], inverse_keys[-1], d_write_key[0], d_p.write_key[0])
    d_p.write_strength[0] *= 1 - np.exp(1 - p.write_strength[0])
    elementwise.sigmoid_backward(p.erase[0], d_p.erase[0])
    elementwise.sigmoid_backward(p.free_gates, d_p.free_gates)
    elementwise.sigmoid_backward(p.gates, d_p.gates)
