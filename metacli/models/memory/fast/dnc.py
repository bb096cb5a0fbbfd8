"""The DNC's memory access, forward and backward, compiled; see `scan`. Equations as in `DNCAccess.step`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from metacli.models.memory.fast import allocation, content, dnc_interface, kernels, linkage
from metacli.models.memory.fast.elementwise import Array, compiled, make_scratch
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
    from metacli.models.memory.dnc import DNCAccess, State


class _State(NamedTuple):
    """The fields of `State` but its reads, or their gradients, as arrays: (B, ...), or (T + 1, B, ...) over time."""

    memory: Array  # (B, W, L): the other way round than in `State`
    read_weights: Array
    write_weights: Array
    usage: Array
    precedence: Array
    links: Array


class _Saved(NamedTuple):
    """What backward needs of a step beside the states before and after it: (B, ...), or (T, B, ...) over time."""

    parameters: Array  # (B, I) the interface, in its ranges, with keys of norm 1
    inverse_keys: Array  # (B, R + 1) 1 / |k|, of the read keys and the write key
    inverse_before: Array  # (B, L) 1 / |M_(t-1)(i)|
    inverse: Array  # (B, L) 1 / |M_t(i)|
    write_cosines: Array  # (B, 1, L)
    write_content: Array  # (B, 1, L) c^w_t
    read_cosines: Array  # (B, R, L)
    read_content: Array  # (B, R, L) c^(r,i)_t
    backward: Array  # (B, R, L) b^i_t
    forward: Array  # (B, R, L) f^i_t
    allocation: Array  # (B, L) a_t
    order: Array  # (B, L) phi_t


class DNCScan(AccessScan):
    """See `AccessScan`."""

    def __init__(self, access: DNCAccess, state: State, steps: int, keep: bool):
        c = access.config
        batch, heads, locations = len(state.memory), c.read_heads, c.locations
        self.access, self.sizes = access, (heads, c.width)
        tape = Tape(state.memory, steps, keep)
        self.final_index = tape.final_index
        self.states = _State(*(tape.allocate_states(s) for s in _State(state.memory.mT, *state[2:])))
        allocate = partial(tape.allocate_steps, batch)
        self.saved = _Saved(
            parameters=allocate(access.interface_size),
            inverse_keys=allocate(heads + 1),
            inverse_before=allocate(locations),
            inverse=allocate(locations),
            write_cosines=allocate(1, locations),
            write_content=allocate(1, locations),
            read_cosines=allocate(heads, locations),
            read_content=allocate(heads, locations),
            backward=allocate(heads, locations),
            forward=allocate(heads, locations),
            allocation=allocate(locations),
            order=allocate(locations, dtype=np.int64),
        )
        self.bits = make_scratch(max(locations, access.interface_size), tape.dtype)

    def forward(self, steps: Steps) -> None:
        """See `AccessScan.forward`."""
        _forward(steps, self.sizes, self.bits, self.states, self.saved)

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        return self._to_state(_State(*(s[self.final_index] for s in self.states)))

    def backward(self, steps: Steps, gradients: StepGradients, d_state: State) -> State:
        """See `AccessScan.backward`."""
        d_memory = gradient_buffer(self.states.memory[0], d_state.memory, (1, 2))
        others = zip(self.states[1:], d_state[2:], strict=True)
        d_states = _State(d_memory, *(gradient_buffer(s[0], d) for s, d in others))
        _backward(steps, gradients, self.sizes, self.states, self.saved, d_states)
        return self._to_state(d_states)

    def _to_state(self, arrays: _State) -> State:
        memory, *others = (torch.from_numpy(a) for a in arrays)
        return self.access.state(memory.mT, memory, *others)


@compiled
def _forward(steps: Steps, sizes: tuple[int, int], bits: Array, states: _State, all_saved: _Saved) -> None:
    """Computes all steps; writes `states` and `all_saved`."""
    for t in range(len(steps.mask)):
        compute_interface(steps, t)
        now, index_before, index_after = step_indices(t, steps.keep)
        before, after = _select_state(states, index_before), _select_state(states, index_after)
        saved, mask = _select_saved(all_saved, now), steps.mask[t]
        interface, reads = steps.interface[now], steps.reads
        heads, width = sizes
        for b in range(len(mask)):
            memory, write_weights, read_weights = after.memory[b], after.write_weights[b], after.read_weights[b]
            if not mask[b]:
                memory[:], write_weights[:] = before.memory[b], before.write_weights[b]
                read_weights[:], after.usage[b] = before.read_weights[b], before.usage[b]
                after.precedence[b], after.links[b] = before.precedence[b], before.links[b]
                continue
            p = dnc_interface.parse_interface(
                interface[b], saved.parameters[b], saved.inverse_keys[b], heads, width, bits
            )
            usage, free_locations = after.usage[b], saved.allocation[b]
            allocation.update_usage(
                before.usage[b], before.write_weights[b, 0], p.free_gates, before.read_weights[b], usage
            )
            allocation.allocation_weighting(usage, saved.order[b], free_locations)
            cosines, inverse, by_content = saved.write_cosines[b], saved.inverse_before[b], saved.write_content[b]
            content.content_weighting(
                before.memory[b], p.write_key, p.write_strength, cosines, inverse, by_content, bits
            )
            allocation.write_weighting(free_locations, by_content[0], p.gates, write_weights[0])

            kernels.write(before.memory[b], write_weights, p.erase, write_weights, p.write_vector, memory)
            precedence, backward, forward = before.precedence[b], saved.backward[b], saved.forward[b]
            linkage.update_links(
                before.links[b], write_weights[0], precedence, before.read_weights[b], after.links[b], backward, forward
            )
            linkage.update_precedence(precedence, write_weights[0], after.precedence[b])

            cosines, inverse, by_content = saved.read_cosines[b], saved.inverse[b], saved.read_content[b]
            content.content_weighting(memory, p.read_keys, p.read_strengths, cosines, inverse, by_content, bits)
            linkage.read_weighting(backward, by_content, forward, p.read_modes, read_weights)
            kernels.read(memory, read_weights, reads[b].reshape(heads, width))
        store_reads(steps, t)


@compiled
def _backward(
    steps: Steps, gradients: StepGradients, sizes: tuple[int, int], states: _State, all_saved: _Saved, gradient: _State
) -> None:
    """Computes all backward steps; `gradient` changes from after to before the first step."""
    for t in range(len(steps.mask) - 1, -1, -1):
        compute_reads_gradient(steps, gradients, t)
        now, index_before, index_after = step_indices(t, steps.keep)
        before, after = _select_state(states, index_before), _select_state(states, index_after)
        saved, mask = _select_saved(all_saved, now), steps.mask[t]
        d_interface, d_reads = gradients.interface[t], gradients.reads
        (heads, width), dtype, locations = sizes, after.memory.dtype, after.usage.shape[1]
        d_backward, d_forward = np.empty((heads, locations), dtype), np.empty((heads, locations), dtype)
        d_read_content, d_write_content = np.empty((heads, locations), dtype), np.empty((1, locations), dtype)
        d_read_keys, d_write_key = np.empty((heads, width), dtype), np.empty((1, width), dtype)  # of norm 1
        d_allocation = np.empty(locations, dtype)
        for b in range(len(mask)):
            if not mask[b]:
                continue
            p = dnc_interface.split_interface(saved.parameters[b], heads, width)
            d_p = dnc_interface.split_interface(d_interface[b], heads, width)
            memory, d_memory, d_usage = after.memory[b], gradient.memory[b], gradient.usage[b]
            write_weights, d_write_weights = after.write_weights[b], gradient.write_weights[b]
            d_read_weights = gradient.read_weights[b]

            kernels.read_backward(
                memory, after.read_weights[b], d_reads[b].reshape(heads, width), d_memory, d_read_weights
            )
            backward, forward, by_content = saved.backward[b], saved.forward[b], saved.read_content[b]
            linkage.read_weighting_backward(
                backward,
                by_content,
                forward,
                p.read_modes,
                d_read_weights,
                d_backward,
                d_read_content,
                d_forward,
                d_p.read_modes,
            )
            d_read_weights[:] = 0  # from here on, that of w^(r,i)_(t-1)
            content.content_weighting_backward(
                memory,
                p.read_keys,
                p.read_strengths,
                saved.read_cosines[b],
                saved.inverse[b],
                by_content,
                d_read_content,
                d_memory,
                d_read_keys,
                d_p.read_strengths,
            )

            linkage.update_precedence_backward(
                before.precedence[b], write_weights[0], gradient.precedence[b], d_write_weights[0]
            )
            linkage.update_links_backward(
                before.links[b],
                write_weights[0],
                before.precedence[b],
                before.read_weights[b],
                after.links[b],
                d_backward,
                d_forward,
                gradient.links[b],
                d_write_weights[0],
                gradient.precedence[b],
                d_read_weights,
            )
            kernels.add_backward(write_weights, p.write_vector, d_memory, d_write_weights, d_p.write_vector)
            kernels.erase_backward(before.memory[b], write_weights, p.erase, d_memory, d_write_weights, d_p.erase)

            free_locations, by_content = saved.allocation[b], saved.write_content[b]
            allocation.write_weighting_backward(
                free_locations, by_content[0], p.gates, d_write_weights[0], d_allocation, d_write_content[0], d_p.gates
            )
            content.content_weighting_backward(
                before.memory[b],
                p.write_key,
                p.write_strength,
                saved.write_cosines[b],
                saved.inverse_before[b],
                by_content,
                d_write_content,
                d_memory,
                d_write_key,
                d_p.write_strength,
            )
            allocation.allocation_weighting_backward(
                after.usage[b], saved.order[b], free_locations, d_allocation, d_usage
            )
            allocation.update_usage_backward(
                before.usage[b],
                before.write_weights[b, 0],
                p.free_gates,
                before.read_weights[b],
                d_usage,
                d_write_weights[0],
                d_p.free_gates,
                d_read_weights,
            )
            dnc_interface.parse_interface_backward(p, saved.inverse_keys[b], d_read_keys, d_write_key, d_p)
        compute_interface_backward(steps, gradients, t)


@compiled
def _select_state(states: _State, i: int) -> _State:
    return _State(
        states.memory[i],
        states.read_weights[i],
        states.write_weights[i],
        states.usage[i],
        states.precedence[i],
        states.links[i],
    )


@compiled
def _select_saved(saved: _Saved, t: int) -> _Saved:
    return _Saved(
        saved.parameters[t],
        saved.inverse_keys[t],
        saved.inverse_before[t],
        saved.inverse[t],
        saved.write_cosines[t],
        saved.write_content[t],
        saved.read_cosines[t],
        saved.read_content[t],
        saved.backward[t],
        saved.forward[t],
        saved.allocation[t],
        saved.order[t],
    )
