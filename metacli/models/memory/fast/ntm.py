"""The NTM's memory access, forward and backward, compiled; see `scan`. Equations as in `NTMAccess.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from metacli.models.memory.addressing import WEIGHT_FLOOR
from metacli.models.memory.fast import circular, elementwise, kernels
from metacli.models.memory.fast.elementwise import Array, compiled, copy_rows, make_scratch
from metacli.models.memory.fast.scan import AccessScan
from metacli.models.memory.fast.steps import (
    StepGradients,
    Steps,
    compute_interface,
    compute_interface_backward,
    compute_reads_gradient,
    store_reads,
)
from metacli.models.memory.fast.tape import Tape, gradient_buffer, step_indices

if TYPE_CHECKING:
    from metacli.models.memory.ntm import NTMAccess, State


class Arrays(NamedTuple):
    """The arrays of all steps: `memory` (W, L) and `weights` (heads, L) are states; see `Tape`.

    The parameters are stored in their ranges, with keys of norm 1.
    """

    head_sizes: tuple[int, int, int, int]  # R, Wh, W and the number of offsets
    clip: float
    bits: Array
    memory: Array
    weights: Array
    parameters: Array
    inverse_keys: Array
    inverse: Array
    cosines: Array
    content: Array
    interpolated: Array
    shifted: Array
    log_shifted: Array


class NTMScan(AccessScan):
    """See `AccessScan`."""

    def __init__(self, access: NTMAccess, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads + c.write_heads
        tape = Tape(state.memory, steps, keep)
        self.access, self.final_index = access, tape.final_index
        self.arrays = Arrays(
            (c.read_heads, c.write_heads, c.width, 2 * c.shift_range + 1),
            access.clip,
            make_scratch(max(c.locations, access.interface_size), tape.dtype),
            tape.allocate_states(state.memory.mT),
            tape.allocate_states(torch.cat([state.read_weights, state.write_weights], 1)),
            tape.allocate_steps(batch, access.interface_size),
            tape.allocate_steps(batch, heads),
            tape.allocate_steps(batch, c.locations),
            *(tape.allocate_steps(batch, heads, c.locations) for _ in range(5)),
        )

    def forward(self, steps: Steps) -> None:
        """See `AccessScan.forward`."""
        _forward(steps, self.arrays)

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        return self._state(self.arrays.memory[self.final_index], self.arrays.weights[self.final_index])

    def backward(self, steps: Steps, gradients: StepGradients, d_state: State) -> State:
        """See `AccessScan.backward`."""
        read_heads = self.access.config.read_heads
        d_memory = gradient_buffer(self.arrays.memory[0], d_state.memory, (1, 2))
        d_weights = np.zeros_like(self.arrays.weights[0])
        for heads, gradient in (
            (slice(read_heads), d_state.read_weights),
            (slice(read_heads, None), d_state.write_weights),
        ):
            if gradient is not None:
                d_weights[:, heads] = gradient.numpy()
        _backward(steps, gradients, self.arrays, d_memory, d_weights)
        return self._state(d_memory, d_weights)

    def _state(self, memory: np.ndarray, weights: np.ndarray) -> State:
        read_weights, write_weights = torch.from_numpy(weights).tensor_split([self.access.config.read_heads], 1)
        return self.access.state(torch.from_numpy(memory).mT, read_weights, read_weights, write_weights)


@compiled
def _forward(steps: Steps, arrays: Arrays) -> None:
    """Computes all steps."""
    for t in range(len(steps.mask)):
        compute_interface(steps, t)
        now, before, after = step_indices(t, steps.keep)
        memory, memory_after = arrays.memory[before], arrays.memory[after]
        weights_before, weights = arrays.weights[before], arrays.weights[after]
        parameters, inverse_keys, inverse = arrays.parameters[now], arrays.inverse_keys[now], arrays.inverse[now]
        cosines, content, interpolated = arrays.cosines[now], arrays.content[now], arrays.interpolated[now]
        shifted, log_shifted = arrays.shifted[now], arrays.log_shifted[now]
        interface, mask, reads, clip, bits = steps.interface[now], steps.mask[t], steps.reads, arrays.clip, arrays.bits
        read_heads, write_heads, width, offsets = arrays.head_sizes
        heads, (tasks, _, locations) = read_heads + write_heads, memory.shape
        logits = np.empty(locations, memory.dtype)
        for b in range(tasks):
            if not mask[b]:
                copy_rows(memory[b], memory_after[b])
                copy_rows(weights_before[b], weights[b])
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
                    interpolated[b, h, i] = weights_before[b, h, i] + gate[h] * (
                        content[b, h, i] - weights_before[b, h, i]
                    )
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
        store_reads(steps, t)


@compiled
def _backward(steps: Steps, gradients: StepGradients, arrays: Arrays, d_memory: Array, d_weights: Array) -> None:
    """Computes all backward steps; the arguments after `arrays` change from after to before the first step."""
    for t in range(len(steps.mask) - 1, -1, -1):
        compute_reads_gradient(steps, gradients, t)
        now, before, after = step_indices(t, steps.keep)
        memory, memory_after = arrays.memory[before], arrays.memory[after]
        weights_before, weights = arrays.weights[before], arrays.weights[after]
        parameters, inverse_keys, inverse = arrays.parameters[now], arrays.inverse_keys[now], arrays.inverse[now]
        cosines, content, interpolated = arrays.cosines[now], arrays.content[now], arrays.interpolated[now]
        shifted, log_shifted = arrays.shifted[now], arrays.log_shifted[now]
        interface, mask, clip = steps.interface[now], steps.mask[t], arrays.clip
        d_interface, d_reads = gradients.interface[t], gradients.reads
        read_heads, write_heads, width, offsets = arrays.head_sizes
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
            kernels.read_backward(
                memory_after[b], weights[b, :read_heads], d_read, d_memory[b], d_weights[b, :read_heads]
            )
            kernels.add_backward(
                write_weights, erase_and_add[:, 1], d_memory[b], d_write_weights, d_erase_and_add[:, 1]
            )
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
        compute_interface_backward(steps, gradients, t)


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
