"""MANN's access step by step, and back by hand, compiled; see `scan`. Equations as in `LRUA.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.fast import passes, rows
from metacli.models.memory.fast.rows import Array, compiled, scratch
from metacli.models.memory.fast.scan import AccessScan, Tape

if TYPE_CHECKING:
    from metacli.models.memory.mann import LRUA, State

Plan = tuple[int, bool, bool, float, bool, float, bool, bool]  # see `LRUAScan.plan`


class LRUAScan(AccessScan):
    """See `AccessScan`."""

    def __init__(self, access: LRUA, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads = len(state.memory), c.read_heads
        self.access = access
        # How the interface is laid out, and the options of the recipe.
        self.plan = (
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
        self.memory = tape.states(c.width, c.locations, first=state.memory.mT)
        self.reading = tape.states(heads, c.locations, first=state.read_weights)
        self.writing = tape.states(heads, c.locations, first=state.write_weights)
        self.usage = tape.states(c.locations, first=state.usage)
        self.units, self.cosines = tape.steps(heads, c.width), tape.steps(heads, c.locations)
        self.scalars = tape.steps(3, heads)  # the inverse norm of the key, the gate, the strength
        self.inverse, self.erased = tape.steps(c.locations), tape.steps(1, c.locations)
        self.least = np.zeros((len(self.inverse), batch, heads), np.int64)
        self.bits = scratch(c.locations, self.memory.dtype)
        self.tape, self.now = tape, 0

    def _arrays(self) -> tuple[np.ndarray, ...]:
        t, before, after = self.tape.places(self.now)
        states = (self.memory, self.reading, self.writing, self.usage)
        kept = (self.units, self.cosines, self.scalars, self.inverse, self.erased, self.least)
        return (*(s[before] for s in states), *(s[after] for s in states), *(k[t] for k in kept))

    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.forward`."""
        reads = interface.new_zeros(len(interface), self.access.reads_size)
        _forward(interface.numpy(), mask, self.plan, self.bits, reads.numpy(), *self._arrays())
        self.now += 1
        return reads

    def last(self) -> State:
        """See `AccessScan.last`."""
        _, last, _ = self.tape.places(self.now)
        memory, *rest = (torch.from_numpy(s[last]) for s in (self.memory, self.reading, self.writing, self.usage))
        return self.access.state(memory.mT, memory, *rest)

    def begin(self, gradient: State) -> None:
        """See `AccessScan.begin`."""
        self.d_memory = self.tape.gradient(self.memory[0], gradient.memory, transposed=True)
        self.d_reading = self.tape.gradient(self.reading[0], gradient.read_weights)
        self.d_writing = self.tape.gradient(self.writing[0], gradient.write_weights)

    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.backward`."""
        self.now -= 1
        d_interface = torch.zeros_like(interface)
        gradients = (self.d_memory, self.d_reading, self.d_writing)
        given = (interface.numpy(), mask, self.plan, d_reads.numpy(), d_interface.numpy())
        _backward(*given, *self._arrays(), *gradients)
        return d_interface

    def first(self) -> State:
        """See `AccessScan.first`."""
        memory, reading, writing = (torch.from_numpy(d) for d in (self.d_memory, self.d_reading, self.d_writing))
        return self.access.state(memory.mT, memory, reading, writing, torch.zeros_like(memory[:, 0]))


@compiled
def _forward(
    interface: Array,
    mask: Array,
    plan: Plan,
    bits: Array,
    reads: Array,
    memory: Array,
    reading_before: Array,
    writing_before: Array,
    usage_before: Array,
    written: Array,
    reading: Array,
    writing: Array,
    usage: Array,
    units: Array,
    cosines: Array,
    scalars: Array,
    inverse: Array,
    erased: Array,
    least: Array,
) -> None:
    """One step of all tasks; arrays (B, ...): those up to `usage_before` are read, the others written."""
    width, separate, learnt, strength, reads_first, decay, shared, erase_one = plan
    (tasks, _, locations), heads = memory.shape, reading.shape[1]
    ones, logits = np.ones((1, width), memory.dtype), np.empty(locations, memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            written[b], usage[b] = memory[b], usage_before[b]
            reading[b], writing[b] = reading_before[b], writing_before[b]
            continue
        number = interface[b].reshape(heads, -1)
        erased[b] = 0
        for h in range(heads):
            scalars[b, 0, h] = passes.unit(number[h, :width], units[b, h])
            gate = scalars[b, 1, h] = 1 / (1 + np.exp(-number[h, width]))
            scalars[b, 2, h] = rows.softplus(number[h, -1]) if learnt else strength
            location = least[b, h] = _least_used(usage_before[b], least[b, :h])
            if h == 0 or not erase_one:
                erased[b, 0, location] = 1
            for i in range(locations):
                writing[b, h, i] = gate * reading_before[b, h, i]
            if not shared:
                writing[b, h, location] += 1 - gate
        if shared:
            for h in range(heads):
                for location in least[b]:
                    writing[b, h, location] += 1 - scalars[b, 1, h]
        vectors = number[:, width + 1 : 2 * width + 1] if separate else number[:, :width]
        passes.write(memory[b], erased[b], ones, writing[b], vectors, written[b])

        looked_at = memory[b] if reads_first else written[b]
        passes.score(looked_at, units[b], cosines[b], inverse[b])
        for i in range(locations):
            usage[b, i] = decay * usage_before[b, i]
        for h in range(heads):
            for i in range(locations):
                logits[i] = scalars[b, 2, h] * cosines[b, h, i]
            passes.softmax(logits, reading[b, h], bits)
            for i in range(locations):
                usage[b, i] += reading[b, h, i] + writing[b, h, i]
        passes.read(looked_at, reading[b], reads[b].reshape(heads, width))


@compiled
def _backward(
    interface: Array,
    mask: Array,
    plan: Plan,
    d_reads: Array,
    d_interface: Array,
    memory: Array,
    reading_before: Array,
    writing_before: Array,
    usage_before: Array,
    written: Array,
    reading: Array,
    writing: Array,
    usage: Array,
    units: Array,
    cosines: Array,
    scalars: Array,
    inverse: Array,
    erased: Array,
    least: Array,
    d_memory: Array,
    d_reading: Array,
    d_writing: Array,
) -> None:
    """One step back; `d_interface` is written, the last three turn from those after the step to those before."""
    width, separate, learnt, _, reads_first, _, shared, _ = plan
    (tasks, _, locations), heads = memory.shape, reading.shape[1]
    ones, d_ones = np.ones((1, width), memory.dtype), np.empty((1, width), memory.dtype)
    d_erased, d_units = np.empty((1, locations), memory.dtype), np.empty((heads, width), memory.dtype)
    for b in range(tasks):
        if not mask[b]:
            continue
        number, d_number = interface[b].reshape(heads, -1), d_interface[b].reshape(heads, -1)
        vectors = number[:, width + 1 : 2 * width + 1] if separate else number[:, :width]
        d_vectors = d_number[:, width + 1 : 2 * width + 1] if separate else d_number[:, :width]
        looked_at = memory[b] if reads_first else written[b]
        if reads_first:
            passes.add_back(writing[b], vectors, d_memory[b], d_writing[b], d_vectors)
            passes.erase_back(memory[b], erased[b], ones, d_memory[b], d_erased, d_ones)
        passes.read_back(looked_at, reading[b], d_reads[b].reshape(heads, width), d_memory[b], d_reading[b])
        for h in range(heads):
            d, strength = d_reading[b, h], scalars[b, 2, h]
            passes.softmax_back(reading[b, h], d)
            d_strength = strength * 0
            for i in range(locations):
                d_strength += d[i] * cosines[b, h, i]
                d[i] *= strength
            if learnt:
                d_number[h, -1] = d_strength * (1 - np.exp(-strength))
        passes.score_back(looked_at, units[b], cosines[b], inverse[b], d_reading[b], d_memory[b], d_units)
        if not reads_first:
            passes.add_back(writing[b], vectors, d_memory[b], d_writing[b], d_vectors)
            passes.erase_back(memory[b], erased[b], ones, d_memory[b], d_erased, d_ones)
        for h in range(heads):
            passes.unit_back(units[b, h], scalars[b, 0, h], d_units[h], d_number[h, :width])
            gate = scalars[b, 1, h]
            d_gate = -d_writing[b, h, least[b, h]]
            if shared:
                for other in range(heads):
                    if other != h:
                        d_gate -= d_writing[b, h, least[b, other]]
            for i in range(locations):
                d_gate += d_writing[b, h, i] * reading_before[b, h, i]
                d_reading[b, h, i] = d_writing[b, h, i] * gate
                d_writing[b, h, i] = 0
            d_number[h, width] = d_gate * gate * (1 - gate)


@compiled
def _least_used(usage: Array, taken: Array) -> int:
    """The least used location that is not in `taken`, the first of equals."""
    best = -1
    for i in range(len(usage)):
        if best >= 0 and not usage[i] < usage[best]:
            continue
        free = True
        for location in taken:
            free = free and location != i
        if free:
            best = i
    return best
