"""MANN's memory access, forward and backward, compiled; see `scan`. Equations as in `LRUA.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from metacli.models.memory.fast import elementwise, kernels
from metacli.models.memory.fast.elementwise import Array, compiled, copy_row, copy_rows, make_scratch
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
    from metacli.models.memory.mann import LRUA, State


class Arrays(NamedTuple):
    """The arrays of all steps: those from `memory` (W, L) to `usage` (L,) are states; see `Tape`."""

    options: tuple[int, bool, bool, float, bool, float, bool, bool]  # see `LRUAScan`
    bits: Array
    memory: Array
    read_weights: Array
    write_weights: Array
    usage: Array
    normalized_keys: Array
    cosines: Array
    scalars: Array  # the inverse norm of the key, the gate, the strength
    inverse: Array
    erased: Array
    least_used: Array


class Gradients(NamedTuple):
    """The gradients of the states, from after to before the current step."""

    memory: Array
    read_weights: Array
    write_weights: Array


class LRUAScan(AccessScan):
    """See `AccessScan`."""

    def __init__(self, access: LRUA, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads
        tape = Tape(state.memory, steps, keep)
        self.access, self.final_index = access, tape.final_index
        # The layout of the interface, and the options of the recipe.
        options = (
            c.width,
            c.write_vector == "separate",
            c.learn_strength,
            c.strength,
            access.reads_first,
            c.usage_decay,
            c.least_used == "shared",
            c.erase == "one",
        )
        self.arrays = Arrays(
            options=options,
            bits=make_scratch(c.locations, tape.dtype),
            memory=tape.allocate_states(state.memory.mT),
            read_weights=tape.allocate_states(state.read_weights),
            write_weights=tape.allocate_states(state.write_weights),
            usage=tape.allocate_states(state.usage),
            normalized_keys=tape.allocate_steps(batch, heads, c.width),
            cosines=tape.allocate_steps(batch, heads, c.locations),
            scalars=tape.allocate_steps(batch, 3, heads),
            inverse=tape.allocate_steps(batch, c.locations),
            erased=tape.allocate_steps(batch, 1, c.locations),
            least_used=tape.allocate_steps(batch, heads, dtype=np.int64),
        )

    def forward(self, steps: Steps) -> None:
        """See `AccessScan.forward`."""
        _forward(steps, self.arrays)

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        a = self.arrays
        return self._state(
            *(states[self.final_index] for states in (a.memory, a.read_weights, a.write_weights, a.usage))
        )

    def backward(self, steps: Steps, gradients: StepGradients, d_state: State) -> State:
        """See `AccessScan.backward`."""
        d_states = Gradients(
            gradient_buffer(self.arrays.memory[0], d_state.memory, (1, 2)),
            gradient_buffer(self.arrays.read_weights[0], d_state.read_weights),
            gradient_buffer(self.arrays.write_weights[0], d_state.write_weights),
        )
        _backward(steps, gradients, self.arrays, d_states)
        return self._state(*d_states, np.zeros_like(self.arrays.usage[0]))

    def _state(self, *arrays: np.ndarray) -> State:
        memory, *weights_and_usage = map(torch.from_numpy, arrays)
        return self.access.state(memory.mT, memory, *weights_and_usage)


@compiled
def _forward(steps: Steps, arrays: Arrays) -> None:
    """Computes all steps."""
    for t in range(len(steps.mask)):
        compute_interface(steps, t)
        now, before, after = step_indices(t, steps.keep)
        memory, memory_after = arrays.memory[before], arrays.memory[after]
        read_weights_before, read_weights = arrays.read_weights[before], arrays.read_weights[after]
        write_weights = arrays.write_weights[after]
        normalized_keys, cosines, scalars = arrays.normalized_keys[now], arrays.cosines[now], arrays.scalars[now]
        inverse, erased, least_used = arrays.inverse[now], arrays.erased[now], arrays.least_used[now]
        write_weights_before, usage_before, usage = (
            arrays.write_weights[before],
            arrays.usage[before],
            arrays.usage[after],
        )
        interface, mask, reads, bits = steps.interface[now], steps.mask[t], steps.reads, arrays.bits
        width, has_write_vector, learns_strength, strength, reads_first, decay, shares_least_used, erase_one = (
            arrays.options
        )
        (tasks, _, locations), heads = memory.shape, read_weights.shape[1]
        ones, logits = np.ones((1, width), memory.dtype), np.empty(locations, memory.dtype)
        for b in range(tasks):
            if not mask[b]:
                copy_rows(memory[b], memory_after[b])
                copy_rows(read_weights_before[b], read_weights[b])
                copy_rows(write_weights_before[b], write_weights[b])
                copy_row(usage_before[b], usage[b])
                continue
            head_interface = interface[b].reshape(heads, -1)
            erased[b] = 0
            for h in range(heads):
                scalars[b, 0, h] = kernels.normalize(head_interface[h, :width], normalized_keys[b, h])
                gate = scalars[b, 1, h] = 1 / (1 + np.exp(-head_interface[h, width]))
                scalars[b, 2, h] = elementwise.softplus(head_interface[h, -1]) if learns_strength else strength
                location = least_used[b, h] = _least_used(usage_before[b], least_used[b, :h])
                if h == 0 or not erase_one:
                    erased[b, 0, location] = 1
                for i in range(locations):
                    write_weights[b, h, i] = gate * read_weights_before[b, h, i]
                if not shares_least_used:
                    write_weights[b, h, location] += 1 - gate
            if shares_least_used:
                for h in range(heads):
                    for location in least_used[b]:
                        write_weights[b, h, location] += 1 - scalars[b, 1, h]
            vectors = head_interface[:, width + 1 : 2 * width + 1] if has_write_vector else head_interface[:, :width]
            kernels.write(memory[b], erased[b], ones, write_weights[b], vectors, memory_after[b])

            read_memory = memory[b] if reads_first else memory_after[b]
            kernels.cosine_similarity(read_memory, normalized_keys[b], cosines[b], inverse[b])
            for i in range(locations):
                usage[b, i] = decay * usage_before[b, i]
            for h in range(heads):
                for i in range(locations):
                    logits[i] = scalars[b, 2, h] * cosines[b, h, i]
                kernels.softmax(logits, read_weights[b, h], bits)
                for i in range(locations):
                    usage[b, i] += read_weights[b, h, i] + write_weights[b, h, i]
            kernels.read(read_memory, read_weights[b], reads[b].reshape(heads, width))
        store_reads(steps, t)


@compiled
def _backward(steps: Steps, gradients: StepGradients, arrays: Arrays, d_states: Gradients) -> None:
    """Computes all backward steps; the arguments after `arrays` change from after to before the first step."""
    for t in range(len(steps.mask) - 1, -1, -1):
        compute_reads_gradient(steps, gradients, t)
        now, before, after = step_indices(t, steps.keep)
        memory, memory_after = arrays.memory[before], arrays.memory[after]
        read_weights_before, read_weights = arrays.read_weights[before], arrays.read_weights[after]
        write_weights = arrays.write_weights[after]
        normalized_keys, cosines, scalars = arrays.normalized_keys[now], arrays.cosines[now], arrays.scalars[now]
        inverse, erased, least_used = arrays.inverse[now], arrays.erased[now], arrays.least_used[now]
        interface, mask = steps.interface[now], steps.mask[t]
        d_interface, d_reads = gradients.interface[t], gradients.reads
        d_memory, d_read_weights, d_write_weights = d_states
        width, has_write_vector, learns_strength, _, reads_first, _, shares_least_used, _ = arrays.options
        (tasks, _, locations), heads = memory.shape, read_weights.shape[1]
        ones, d_ones = np.ones((1, width), memory.dtype), np.empty((1, width), memory.dtype)
        d_erased, d_keys = np.empty((1, locations), memory.dtype), np.empty((heads, width), memory.dtype)
        for b in range(tasks):
            if not mask[b]:
                continue
            head_interface, d_head_interface = interface[b].reshape(heads, -1), d_interface[b].reshape(heads, -1)
            vectors = head_interface[:, width + 1 : 2 * width + 1] if has_write_vector else head_interface[:, :width]
            d_vectors = (
                d_head_interface[:, width + 1 : 2 * width + 1] if has_write_vector else d_head_interface[:, :width]
            )
            read_memory = memory[b] if reads_first else memory_after[b]
            if reads_first:
                kernels.add_backward(write_weights[b], vectors, d_memory[b], d_write_weights[b], d_vectors)
                kernels.erase_backward(memory[b], erased[b], ones, d_memory[b], d_erased, d_ones)
            kernels.read_backward(
                read_memory, read_weights[b], d_reads[b].reshape(heads, width), d_memory[b], d_read_weights[b]
            )
            for h in range(heads):
                d, strength = d_read_weights[b, h], scalars[b, 2, h]
                kernels.softmax_backward(read_weights[b, h], d)
                d_strength = strength * 0
                for i in range(locations):
                    d_strength += d[i] * cosines[b, h, i]
                    d[i] *= strength
                if learns_strength:
                    d_head_interface[h, -1] = d_strength * (1 - np.exp(-strength))
            kernels.cosine_similarity_backward(
                read_memory, normalized_keys[b], cosines[b], inverse[b], d_read_weights[b], d_memory[b], d_keys
            )
            if not reads_first:
                kernels.add_backward(write_weights[b], vectors, d_memory[b], d_write_weights[b], d_vectors)
                kernels.erase_backward(memory[b], erased[b], ones, d_memory[b], d_erased, d_ones)
            for h in range(heads):
                kernels.normalize_backward(
                    normalized_keys[b, h], scalars[b, 0, h], d_keys[h], d_head_interface[h, :width]
                )
                gate = scalars[b, 1, h]
                d_gate = -d_write_weights[b, h, least_used[b, h]]
                if shares_least_used:
                    for other in range(heads):
                        if other != h:
                            d_gate -= d_write_weights[b, h, least_used[b, other]]
                for i in range(locations):
                    d_gate += d_write_weights[b, h, i] * read_weights_before[b, h, i]
                    d_read_weights[b, h, i] = d_write_weights[b, h, i] * gate
                    d_write_weights[b, h, i] = 0
                d_head_interface[h, width] = d_gate * gate * (1 - gate)
        compute_interface_backward(steps, gradients, t)


@compiled
def _least_used(usage: Array, excluded: Array) -> int:
    """Returns the least used location that is not in `excluded`, the first of equals."""
    best = -1
    for i in range(len(usage)):
        if best >= 0 and not usage[i] < usage[best]:
            continue
        is_free = True
        for location in excluded:
            is_free = is_free and location != i
        if is_free:
            best = i
    return best
