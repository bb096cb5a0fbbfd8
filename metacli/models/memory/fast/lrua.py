"""MANN's memory access, forward and backward, compiled; see `scan`. Equations as in `LRUA.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.fast import elementwise, kernels
from metacli.models.memory.fast.elementwise import Array, compiled, make_scratch
from metacli.models.memory.fast.scan import AccessScan, Tape

if TYPE_CHECKING:
    from metacli.models.memory.mann import LRUA, State

Options = tuple[int, bool, bool, float, bool, float, bool, bool]  # see `LRUAScan.options`


class LRUAScan(AccessScan):
    """See `AccessScan`."""

    def __init__(self, access: LRUA, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads
        self.access = access
        # The layout of the interface, and the options of the recipe.
        self.options = (
            c.width,
            c.write_vector == "separate",
            c.learn_strength,
            c.strength,
            access.reads_first,
            c.usage_decay,
            c.least_used == "shared",
            c.erase == "one",
        )
        tape = Tape(state.memory, batch, steps, keep)
        self.memory = tape.allocate_states(c.width, c.locations, initial=state.memory.mT)
        self.read_weights = tape.allocate_states(heads, c.locations, initial=state.read_weights)
        self.write_weights = tape.allocate_states(heads, c.locations, initial=state.write_weights)
        self.usage = tape.allocate_states(c.locations, initial=state.usage)
        self.normalized_keys, self.cosines = (
            tape.allocate_steps(heads, c.width),
            tape.allocate_steps(heads, c.locations),
        )
        self.scalars = tape.allocate_steps(3, heads)  # the inverse norm of the key, the gate, the strength
        self.inverse, self.erased = tape.allocate_steps(c.locations), tape.allocate_steps(1, c.locations)
        self.least_used = np.zeros((len(self.inverse), batch, heads), np.int64)
        self.bits = make_scratch(c.locations, self.memory.dtype)
        self.tape, self.current_step = tape, 0

    def _step_arrays(self) -> tuple[np.ndarray, ...]:
        t, before, after = self.tape.indices(self.current_step)
        states = (self.memory, self.read_weights, self.write_weights, self.usage)
        saved = (self.normalized_keys, self.cosines, self.scalars, self.inverse, self.erased, self.least_used)
        return (*(s[before] for s in states), *(s[after] for s in states), *(k[t] for k in saved))

    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.forward`."""
        reads = interface.new_zeros(len(interface), self.access.reads_size)
        _forward(interface.numpy(), mask, self.options, self.bits, reads.numpy(), *self._step_arrays())
        self.current_step += 1
        return reads

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        _, index, _ = self.tape.indices(self.current_step)
        memory, *weights_and_usage = (
            torch.from_numpy(s[index]) for s in (self.memory, self.read_weights, self.write_weights, self.usage)
        )
        return self.access.state(memory.mT, memory, *weights_and_usage)

    def start_backward(self, gradient: State) -> None:
        """See `AccessScan.start_backward`."""
        self.d_memory = self.tape.gradient_buffer(self.memory[0], gradient.memory, transposed=True)
        self.d_read_weights = self.tape.gradient_buffer(self.read_weights[0], gradient.read_weights)
        self.d_write_weights = self.tape.gradient_buffer(self.write_weights[0], gradient.write_weights)

    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.backward`."""
        self.current_step -= 1
        d_interface = torch.zeros_like(interface)
        gradients = (self.d_memory, self.d_read_weights, self.d_write_weights)
        arguments = (interface.numpy(), mask, self.options, d_reads.numpy(), d_interface.numpy())
        _backward(*arguments, *self._step_arrays(), *gradients)
        return d_interface

    def initial_gradient(self) -> State:
        """See `AccessScan.initial_gradient`."""
        memory, read_weights, write_weights = (
            torch.from_numpy(d) for d in (self.d_memory, self.d_read_weights, self.d_write_weights)
        )
        return self.access.state(memory.mT, memory, read_weights, write_weights, torch.zeros_like(memory[:, 0]))


@compiled
def _forward(
    interface: Array,
    mask: Array,
    options: Options,
    bits: Array,
    reads: Array,
    memory: Array,
    read_weights_before: Array,
    write_weights_before: Array,
    usage_before: Array,
    memory_after: Array,
    read_weights: Array,
    write_weights: Array,
    usage: Array,
    normalized_keys: Array,
    cosines: Array,
    scalars: Array,
    inverse: Array,
    erased: Array,
    least_used: Array,
) -> None:
    """Computes one step of all tasks. Arrays are (B, ...); those up to `usage_before` are read, the others written."""
    width, has_write_vector, learns_strength, strength, reads_first, decay, shares_least_used, erase_one = options
    (tasks, _, locations), heads = memory.shape, read_weights.shape[1]
    ones, logits = np.ones((1, width), memory.dtype), np.empty(locations, memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            memory_after[b], usage[b] = memory[b], usage_before[b]
            read_weights[b], write_weights[b] = read_weights_before[b], write_weights_before[b]
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


@compiled
def _backward(
    interface: Array,
    mask: Array,
    options: Options,
    d_reads: Array,
    d_interface: Array,
    memory: Array,
    read_weights_before: Array,
    write_weights_before: Array,
    usage_before: Array,
    memory_after: Array,
    read_weights: Array,
    write_weights: Array,
    usage: Array,
    normalized_keys: Array,
    cosines: Array,
    scalars: Array,
    inverse: Array,
    erased: Array,
    least_used: Array,
    d_memory: Array,
    d_read_weights: Array,
    d_write_weights: Array,
) -> None:
    """Computes one backward step. Writes `d_interface`; the last three change from after the step to before it."""
    width, has_write_vector, learns_strength, _, reads_first, _, shares_least_used, _ = options
    (tasks, _, locations), heads = memory.shape, read_weights.shape[1]
    ones, d_ones = np.ones((1, width), memory.dtype), np.empty((1, width), memory.dtype)
    d_erased, d_keys = np.empty((1, locations), memory.dtype), np.empty((heads, width), memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            continue
        head_interface, d_head_interface = interface[b].reshape(heads, -1), d_interface[b].reshape(heads, -1)
        vectors = head_interface[:, width + 1 : 2 * width + 1] if has_write_vector else head_interface[:, :width]
        d_vectors = d_head_interface[:, width + 1 : 2 * width + 1] if has_write_vector else d_head_interface[:, :width]
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
            kernels.normalize_backward(normalized_keys[b, h], scalars[b, 0, h], d_keys[h], d_head_interface[h, :width])
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
