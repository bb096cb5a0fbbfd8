"""The NTM's memory access, forward and backward, compiled; see `scan`. Equations as in `NTMAccess.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.addressing import WEIGHT_FLOOR
from metacli.models.memory.fast import circular, elementwise, kernels
from metacli.models.memory.fast.elementwise import Array, compiled, make_scratch
from metacli.models.memory.fast.scan import AccessScan, Tape

if TYPE_CHECKING:
    from metacli.models.memory.ntm import NTMAccess, State


class NTMScan(AccessScan):
    """See `AccessScan`. The parameters are stored in their ranges, with keys of norm 1."""

    def __init__(self, access: NTMAccess, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads + c.write_heads
        self.access, self.head_sizes = access, (c.read_heads, c.write_heads, c.width, 2 * c.shift_range + 1)
        tape = Tape(state.memory, batch, steps, keep)
        self.memory = tape.allocate_states(c.width, c.locations, initial=state.memory.mT)
        self.weights = tape.allocate_states(
            heads, c.locations, initial=torch.cat([state.read_weights, state.write_weights], 1)
        )
        self.parameters = tape.allocate_steps(access.interface_size)
        self.inverse_keys, self.inverse = tape.allocate_steps(heads), tape.allocate_steps(c.locations)
        self.cosines, self.content, self.interpolated, self.shifted, self.log_shifted = (
            tape.allocate_steps(heads, c.locations) for _ in range(5)
        )
        self.bits = make_scratch(max(c.locations, access.interface_size), self.memory.dtype)
        self.tape, self.current_step = tape, 0

    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.forward`."""
        t, before, after = self.tape.indices(self.current_step)
        reads = interface.new_zeros(len(interface), self.access.reads_size)
        _forward(
            *(interface.numpy(), mask, self.access.clip, self.head_sizes, self.bits, reads.numpy()),
            *(self.memory[before], self.weights[before], self.memory[after], self.weights[after]),
            *(self.parameters[t], self.inverse_keys[t], self.inverse[t]),
            *(self.cosines[t], self.content[t], self.interpolated[t], self.shifted[t], self.log_shifted[t]),
        )
        self.current_step += 1
        return reads

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        _, index, _ = self.tape.indices(self.current_step)
        read_weights, write_weights = torch.from_numpy(self.weights[index]).split(self.head_sizes[:2], 1)
        return self.access.state(torch.from_numpy(self.memory[index]).mT, read_weights, read_weights, write_weights)

    def start_backward(self, gradient: State) -> None:
        """See `AccessScan.start_backward`."""
        self.d_memory = self.tape.gradient_buffer(self.memory[0], gradient.memory, transposed=True)
        read_weights, write_weights = np.split(self.weights[0], [self.head_sizes[0]], 1)
        read_weights = self.tape.gradient_buffer(read_weights, gradient.read_weights)
        write_weights = self.tape.gradient_buffer(write_weights, gradient.write_weights)
        self.d_weights = np.concatenate([read_weights, write_weights], 1)

    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.backward`."""
        self.current_step -= 1
        t, before, after = self.tape.indices(self.current_step)
        d_interface = torch.zeros_like(interface)
        _backward(
            *(interface.numpy(), mask, self.access.clip, self.head_sizes, d_reads.numpy(), d_interface.numpy()),
            *(self.memory[before], self.weights[before], self.memory[after], self.weights[after]),
            *(self.parameters[t], self.inverse_keys[t], self.inverse[t]),
            *(self.cosines[t], self.content[t], self.interpolated[t], self.shifted[t], self.log_shifted[t]),
            *(self.d_memory, self.d_weights),
        )
        return d_interface

    def initial_gradient(self) -> State:
        """See `AccessScan.initial_gradient`."""
        read_weights, write_weights = torch.from_numpy(self.d_weights).split(self.head_sizes[:2], 1)
        return self.access.state(torch.from_numpy(self.d_memory).mT, read_weights, read_weights, write_weights)


@compiled
def _forward(
    interface: Array,
    mask: Array,
    clip: float,
    head_sizes: tuple[int, int, int, int],
    bits: Array,
    reads: Array,
    memory: Array,
    weights_before: Array,
    memory_after: Array,
    weights: Array,
    parameters: Array,
    inverse_keys: Array,
    inverse: Array,
    cosines: Array,
    content: Array,
    interpolated: Array,
    shifted: Array,
    log_shifted: Array,
) -> None:
    """Computes one step of all tasks. Arrays are (B, ...); those up to `weights_before` are read, others written."""
    read_heads, write_heads, width, offsets = head_sizes
    heads, (tasks, _, locations) = read_heads + write_heads, memory.shape
    logits = np.empty(locations, memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            memory_after[b], weights[b] = memory[b], weights_before[b]
            continue
        task_parameters = parameters[b]
        for j in range(len(task_parameters)):
            task_parameters[j] = _clip(interface[b, j], clip)
        keys, scalars, gate, shift, erase_and_add = _split_interface(
            task_parameters, read_heads, write_heads, width, offsets
        )
        elementwise.sigmoid(gate, gate, bits)  # g_t
        for h in range(heads):
            inverse_keys[b, h] = kernels.normalize(keys[h], keys[h])
            scalars[h, 0] = elementwise.softplus(scalars[h, 0])  # beta_t
            scalars[h, 1] = 1 + elementwise.softplus(scalars[h, 1])  # gamma_t
            kernels.softmax(shift[h], shift[h], bits)  # s_t
        for h in range(write_heads):
            elementwise.sigmoid(erase_and_add[h, 0], erase_and_add[h, 0], bits)  # e_t
            elementwise.tanh(erase_and_add[h, 1], erase_and_add[h, 1], bits)  # a_t

        kernels.cosine_similarity(memory[b], keys, cosines[b], inverse[b])
        for h in range(heads):
            for i in range(locations):
                logits[i] = scalars[h, 0] * cosines[b, h, i]
            kernels.softmax(logits, content[b, h], bits)
            for i in range(locations):
                interpolated[b, h, i] = weights_before[b, h, i] + gate[h] * (content[b, h, i] - weights_before[b, h, i])
            circular.rotate_weights(interpolated[b, h], shift[h], 1, shifted[b, h])
            for i in range(locations):
                shifted[b, h, i] += WEIGHT_FLOOR
            elementwise.log(shifted[b, h], log_shifted[b, h], bits)
            for i in range(locations):
                logits[i] = scalars[h, 1] * log_shifted[b, h, i]
            kernels.softmax(logits, weights[b, h], bits)
        write_weights = weights[b, read_heads:]
        kernels.write(
            memory[b], write_weights, erase_and_add[:, 0], write_weights, erase_and_add[:, 1], memory_after[b]
        )
        kernels.read(memory_after[b], weights[b, :read_heads], reads[b].reshape(read_heads, width))


@compiled
def _backward(
    interface: Array,
    mask: Array,
    clip: float,
    head_sizes: tuple[int, int, int, int],
    d_reads: Array,
    d_interface: Array,
    memory: Array,
    weights_before: Array,
    memory_after: Array,
    weights: Array,
    parameters: Array,
    inverse_keys: Array,
    inverse: Array,
    cosines: Array,
    content: Array,
    interpolated: Array,
    shifted: Array,
    log_shifted: Array,
    d_memory: Array,
    d_weights: Array,
) -> None:
    """Computes one backward step. Writes `d_interface`; `d_memory` and `d_weights` change from after to before it."""
    read_heads, write_heads, width, offsets = head_sizes
    heads, (tasks, _, locations) = read_heads + write_heads, memory.shape
    d_shifted, d_content = np.empty(locations, memory.dtype), np.empty((heads, locations), memory.dtype)
    d_normalized_keys = np.empty((heads, width), memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            continue
        keys, scalars, gate, shift, erase_and_add = _split_interface(
            parameters[b], read_heads, write_heads, width, offsets
        )
        d_keys, d_scalars, d_gate, d_shift, d_erase_and_add = _split_interface(
            d_interface[b], read_heads, write_heads, width, offsets
        )
        write_weights, d_write_weights = weights[b, read_heads:], d_weights[b, read_heads:]
        d_read = d_reads[b].reshape(read_heads, width)
        kernels.read_backward(memory_after[b], weights[b, :read_heads], d_read, d_memory[b], d_weights[b, :read_heads])
        kernels.add_backward(write_weights, erase_and_add[:, 1], d_memory[b], d_write_weights, d_erase_and_add[:, 1])
        kernels.erase_backward(
            memory[b], write_weights, erase_and_add[:, 0], d_memory[b], d_write_weights, d_erase_and_add[:, 0]
        )
        for h in range(heads):
            d = d_weights[b, h]
            kernels.softmax_backward(weights[b, h], d)
            d_sharpness, d_head_gate, d_strength = d[0] * 0, d[0] * 0, d[0] * 0
            for i in range(locations):  # sharpen
                d_sharpness += d[i] * log_shifted[b, h, i]
                d_shifted[i] = d[i] * scalars[h, 1] / shifted[b, h, i]
            for o in range(offsets):  # shift
                d_shift[h, o] = circular.correlate(d_shifted, interpolated[b, h], o - offsets // 2)
            circular.rotate_weights(d_shifted, shift[h], -1, d)
            for i in range(locations):  # interpolate
                d_head_gate += d[i] * (content[b, h, i] - weights_before[b, h, i])
                d_content[h, i] = d[i] * gate[h]
                d[i] -= d_content[h, i]
            kernels.softmax_backward(content[b, h], d_content[h])
            for i in range(locations):
                d_strength += d_content[h, i] * cosines[b, h, i]
                d_content[h, i] *= scalars[h, 0]
            d_scalars[h, 0], d_scalars[h, 1], d_gate[h] = d_strength, d_sharpness, d_head_gate
        kernels.cosine_similarity_backward(
            memory[b], keys, cosines[b], inverse[b], d_content, d_memory[b], d_normalized_keys
        )

        for h in range(heads):  # through the activations
            kernels.normalize_backward(keys[h], inverse_keys[b, h], d_normalized_keys[h], d_keys[h])
            d_scalars[h, 0] *= 1 - np.exp(-scalars[h, 0])
            d_scalars[h, 1] *= 1 - np.exp(1 - scalars[h, 1])
            d_gate[h] *= gate[h] * (1 - gate[h])
            kernels.softmax_backward(shift[h], d_shift[h])
        for h in range(write_heads):
            for w in range(width):
                d_erase_and_add[h, 0, w] *= erase_and_add[h, 0, w] * (1 - erase_and_add[h, 0, w])
                d_erase_and_add[h, 1, w] *= 1 - erase_and_add[h, 1, w] * erase_and_add[h, 1, w]
        for j in range(interface.shape[1]):
            if abs(interface[b, j]) > clip:
                d_interface[b, j] = 0


@compiled
def _split_interface(
    parameters: Array, read_heads: int, write_heads: int, width: int, offsets: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Views an interface as keys (heads, W), beta and gamma (heads, 2), g, s (heads, offsets), e and a (Wh, 2, W)."""
    heads = read_heads + write_heads
    keys_end = heads * width
    scalars_end, gates_end, shifts_end = keys_end + 2 * heads, keys_end + 3 * heads, keys_end + (3 + offsets) * heads
    return (
        parameters[:keys_end].reshape(heads, width),
        parameters[keys_end:scalars_end].reshape(heads, 2),
        parameters[scalars_end:gates_end],
        parameters[gates_end:shifts_end].reshape(heads, offsets),
        parameters[shifts_end:].reshape(write_heads, 2, width),
    )


@compiled
def _clip(x: float, bound: float) -> float:
    if x > bound:
        return x * 0 + bound
    if x < -bound:
        return x * 0 - bound
    return x
