"""The NTM's access step by step, and back by hand, compiled; see `scan`. Equations as in `NTMAccess.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.addressing import WEIGHT_FLOOR
from metacli.models.memory.fast import circular, passes, rows
from metacli.models.memory.fast.rows import Array, compiled, scratch
from metacli.models.memory.fast.scan import AccessScan, Tape

if TYPE_CHECKING:
    from metacli.models.memory.ntm import NTMAccess, State


class NTMScan(AccessScan):
    """See `AccessScan`. The numbers of the interface are kept in their ranges, the keys brought to norm 1."""

    def __init__(self, access: NTMAccess, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads + c.write_heads
        self.access, self.sizes = access, (c.read_heads, c.write_heads, c.width, 2 * c.shift_range + 1)
        tape = Tape(state.memory, batch, steps, keep)
        self.memory = tape.states(c.width, c.locations, first=state.memory.mT)
        self.weights = tape.states(heads, c.locations, first=torch.cat([state.read_weights, state.write_weights], 1))
        self.numbers = tape.steps(access.interface_size)
        self.inverse_keys, self.inverse = tape.steps(heads), tape.steps(c.locations)
        self.cosines, self.content, self.gated, self.shifted, self.logs = (
            tape.steps(heads, c.locations) for _ in range(5)
        )
        self.bits = scratch(max(c.locations, access.interface_size), self.memory.dtype)
        self.tape, self.now = tape, 0

    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.forward`."""
        t, before, after = self.tape.places(self.now)
        reads = interface.new_zeros(len(interface), self.access.reads_size)
        _forward(
            *(interface.numpy(), mask, self.access.clip, self.sizes, self.bits, reads.numpy()),
            *(self.memory[before], self.weights[before], self.memory[after], self.weights[after]),
            *(self.numbers[t], self.inverse_keys[t], self.inverse[t]),
            *(self.cosines[t], self.content[t], self.gated[t], self.shifted[t], self.logs[t]),
        )
        self.now += 1
        return reads

    def last(self) -> State:
        """See `AccessScan.last`."""
        _, last, _ = self.tape.places(self.now)
        reading, writing = torch.from_numpy(self.weights[last]).split(self.sizes[:2], 1)
        return self.access.state(torch.from_numpy(self.memory[last]).mT, reading, reading, writing)

    def begin(self, gradient: State) -> None:
        """See `AccessScan.begin`."""
        self.d_memory = self.tape.gradient(self.memory[0], gradient.memory, transposed=True)
        reading, writing = np.split(self.weights[0], [self.sizes[0]], 1)
        reading = self.tape.gradient(reading, gradient.read_weights)
        writing = self.tape.gradient(writing, gradient.write_weights)
        self.d_weights = np.concatenate([reading, writing], 1)

    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.backward`."""
        self.now -= 1
        t, before, after = self.tape.places(self.now)
        d_interface = torch.zeros_like(interface)
        _backward(
            *(interface.numpy(), mask, self.access.clip, self.sizes, d_reads.numpy(), d_interface.numpy()),
            *(self.memory[before], self.weights[before], self.memory[after], self.weights[after]),
            *(self.numbers[t], self.inverse_keys[t], self.inverse[t]),
            *(self.cosines[t], self.content[t], self.gated[t], self.shifted[t], self.logs[t]),
            *(self.d_memory, self.d_weights),
        )
        return d_interface

    def first(self) -> State:
        """See `AccessScan.first`."""
        reading, writing = torch.from_numpy(self.d_weights).split(self.sizes[:2], 1)
        return self.access.state(torch.from_numpy(self.d_memory).mT, reading, reading, writing)


@compiled
def _forward(
    interface: Array,
    mask: Array,
    clip: float,
    sizes: tuple[int, int, int, int],
    bits: Array,
    reads: Array,
    memory: Array,
    before: Array,
    written: Array,
    weights: Array,
    numbers: Array,
    inverse_keys: Array,
    inverse: Array,
    cosines: Array,
    content: Array,
    gated: Array,
    shifted: Array,
    logs: Array,
) -> None:
    """One step of all tasks; arrays (B, ...): those up to `before` are read, the others written."""
    readers, writers, width, offsets = sizes
    heads, (tasks, _, locations) = readers + writers, memory.shape
    logits = np.empty(locations, memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            written[b], weights[b] = memory[b], before[b]
            continue
        number = numbers[b]
        for j in range(len(number)):
            number[j] = _clipped(interface[b, j], clip)
        keys, positive, gate, shift, change = _parts(number, readers, writers, width, offsets)
        rows.sigmoid(gate, gate, bits)  # g_t
        for h in range(heads):
            inverse_keys[b, h] = passes.unit(keys[h], keys[h])
            positive[h, 0] = rows.softplus(positive[h, 0])  # beta_t
            positive[h, 1] = 1 + rows.softplus(positive[h, 1])  # gamma_t
            passes.softmax(shift[h], shift[h], bits)  # s_t
        for h in range(writers):
            rows.sigmoid(change[h, 0], change[h, 0], bits)  # e_t
            rows.tanh(change[h, 1], change[h, 1], bits)  # a_t

        passes.score(memory[b], keys, cosines[b], inverse[b])
        for h in range(heads):
            for i in range(locations):
                logits[i] = positive[h, 0] * cosines[b, h, i]
            passes.softmax(logits, content[b, h], bits)
            for i in range(locations):
                gated[b, h, i] = before[b, h, i] + gate[h] * (content[b, h, i] - before[b, h, i])
            circular.turn(gated[b, h], shift[h], 1, shifted[b, h])
            for i in range(locations):
                shifted[b, h, i] += WEIGHT_FLOOR
            rows.log(shifted[b, h], logs[b, h], bits)
            for i in range(locations):
                logits[i] = positive[h, 1] * logs[b, h, i]
            passes.softmax(logits, weights[b, h], bits)
        writing = weights[b, readers:]
        passes.write(memory[b], writing, change[:, 0], writing, change[:, 1], written[b])
        passes.read(written[b], weights[b, :readers], reads[b].reshape(readers, width))


@compiled
def _backward(
    interface: Array,
    mask: Array,
    clip: float,
    sizes: tuple[int, int, int, int],
    d_reads: Array,
    d_interface: Array,
    memory: Array,
    before: Array,
    written: Array,
    weights: Array,
    numbers: Array,
    inverse_keys: Array,
    inverse: Array,
    cosines: Array,
    content: Array,
    gated: Array,
    shifted: Array,
    logs: Array,
    d_memory: Array,
    d_weights: Array,
) -> None:
    """One step back; `d_interface` is written, `d_memory` and `d_weights` turn from those after to those before."""
    readers, writers, width, offsets = sizes
    heads, (tasks, _, locations) = readers + writers, memory.shape
    d_shifted, d_content = np.empty(locations, memory.dtype), np.empty((heads, locations), memory.dtype)
    d_units = np.empty((heads, width), memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            continue
        keys, positive, gate, shift, change = _parts(numbers[b], readers, writers, width, offsets)
        d_keys, d_positive, d_gate, d_shift, d_change = _parts(d_interface[b], readers, writers, width, offsets)
        writing, d_writing = weights[b, readers:], d_weights[b, readers:]
        d_read = d_reads[b].reshape(readers, width)
        passes.read_back(written[b], weights[b, :readers], d_read, d_memory[b], d_weights[b, :readers])
        passes.add_back(writing, change[:, 1], d_memory[b], d_writing, d_change[:, 1])
        passes.erase_back(memory[b], writing, change[:, 0], d_memory[b], d_writing, d_change[:, 0])
        for h in range(heads):
            d = d_weights[b, h]
            passes.softmax_back(weights[b, h], d)
            d_sharpness, d_gate_h, d_strength = d[0] * 0, d[0] * 0, d[0] * 0
            for i in range(locations):  # sharpen
                d_sharpness += d[i] * logs[b, h, i]
                d_shifted[i] = d[i] * positive[h, 1] / shifted[b, h, i]
            for o in range(offsets):  # shift
                d_shift[h, o] = circular.along(d_shifted, gated[b, h], o - offsets // 2)
            circular.turn(d_shifted, shift[h], -1, d)
            for i in range(locations):  # interpolate
                d_gate_h += d[i] * (content[b, h, i] - before[b, h, i])
                d_content[h, i] = d[i] * gate[h]
                d[i] -= d_content[h, i]
            passes.softmax_back(content[b, h], d_content[h])
            for i in range(locations):
                d_strength += d_content[h, i] * cosines[b, h, i]
                d_content[h, i] *= positive[h, 0]
            d_positive[h, 0], d_positive[h, 1], d_gate[h] = d_strength, d_sharpness, d_gate_h
        passes.score_back(memory[b], keys, cosines[b], inverse[b], d_content, d_memory[b], d_units)

        for h in range(heads):  # out of their ranges
            passes.unit_back(keys[h], inverse_keys[b, h], d_units[h], d_keys[h])
            d_positive[h, 0] *= 1 - np.exp(-positive[h, 0])
            d_positive[h, 1] *= 1 - np.exp(1 - positive[h, 1])
            d_gate[h] *= gate[h] * (1 - gate[h])
            passes.softmax_back(shift[h], d_shift[h])
        for h in range(writers):
            for w in range(width):
                d_change[h, 0, w] *= change[h, 0, w] * (1 - change[h, 0, w])
                d_change[h, 1, w] *= 1 - change[h, 1, w] * change[h, 1, w]
        for j in range(interface.shape[1]):
            if abs(interface[b, j]) > clip:
                d_interface[b, j] = 0


@compiled
def _parts(
    number: Array, readers: int, writers: int, width: int, offsets: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Views of an interface: keys (heads, W), beta and gamma (heads, 2), g, s (heads, offsets), e and a (Wh, 2, W)."""
    heads = readers + writers
    a = heads * width
    b, c, d = a + 2 * heads, a + 3 * heads, a + (3 + offsets) * heads
    return (
        number[:a].reshape(heads, width),
        number[a:b].reshape(heads, 2),
        number[b:c],
        number[c:d].reshape(heads, offsets),
        number[d:].reshape(writers, 2, width),
    )


@compiled
def _clipped(x: float, bound: float) -> float:
    if x > bound:
        return x * 0 + bound
    if x < -bound:
        return x * 0 - bound
    return x
