"""The DNC's memory access, forward and backward, compiled; see `scan`. Equations as in `DNCAccess.step`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.fast import allocation, content, dnc_interface, kernels, linkage
from metacli.models.memory.fast.elementwise import Array, compiled, make_scratch
from metacli.models.memory.fast.scan import AccessScan, Tape

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
        tape = self.tape = Tape(state.memory, batch, steps, keep)
        initial = _State(state.memory.mT, *state[2:])
        self.states = _State(*(tape.allocate_states(*s.shape[1:], initial=s) for s in initial))
        allocate = tape.allocate_steps
        free_locations = allocate(locations)
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
            allocation=free_locations,
            order=np.empty_like(free_locations, np.int64),
        )
        self.bits = make_scratch(max(locations, access.interface_size), self.states.memory.dtype)
        self.current_step = 0

    def _step_arrays(self) -> tuple[_State, _State, _Saved]:
        t, before, after = self.tape.indices(self.current_step)
        states_before, states_after = (_State(*(s[index] for s in self.states)) for index in (before, after))
        return states_before, states_after, _Saved(*(s[t] for s in self.saved))

    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.forward`."""
        reads = interface.new_zeros(len(interface), self.access.reads_size)
        _forward(interface.numpy(), mask, self.sizes, self.bits, reads.numpy(), *self._step_arrays())
        self.current_step += 1
        return reads

    def final_state(self) -> State:
        """See `AccessScan.final_state`."""
        _, index, _ = self.tape.indices(self.current_step)
        return self._to_state(_State(*(s[index] for s in self.states)))

    def start_backward(self, gradient: State) -> None:
        """See `AccessScan.start_backward`."""
        memory = self.tape.gradient_buffer(self.states.memory[0], gradient.memory, transposed=True)
        others = zip(self.states[1:], gradient[2:], strict=True)
        self.gradient = _State(memory, *(self.tape.gradient_buffer(s[0], d) for s, d in others))

    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """See `AccessScan.backward`."""
        self.current_step -= 1
        d_interface = torch.zeros_like(interface)
        _backward(mask, self.sizes, d_reads.numpy(), d_interface.numpy(), *self._step_arrays(), self.gradient)
        return d_interface

    def initial_gradient(self) -> State:
        """See `AccessScan.initial_gradient`."""
        return self._to_state(self.gradient)

    def _to_state(self, arrays: _State) -> State:
        memory, *others = (torch.from_numpy(a) for a in arrays)
        return self.access.state(memory.mT, memory, *others)


@compiled
def _forward(
    interface: Array,
    mask: Array,
    sizes: tuple[int, int],
    bits: Array,
    reads: Array,
    before: _State,
    after: _State,
    saved: _Saved,
) -> None:
    """Computes one step of all tasks; writes `reads`, `after` and `saved`."""
    heads, width = sizes
    for b in range(len(mask)):
        memory, write_weights, read_weights = after.memory[b], after.write_weights[b], after.read_weights[b]
        if not mask[b]:
            memory[:], write_weights[:] = before.memory[b], before.write_weights[b]
            read_weights[:], after.usage[b] = before.read_weights[b], before.usage[b]
            after.precedence[b], after.links[b] = before.precedence[b], before.links[b]
            continue
        p = dnc_interface.parse_interface(interface[b], saved.parameters[b], saved.inverse_keys[b], heads, width, bits)
        usage, free_locations = after.usage[b], saved.allocation[b]
        allocation.update_usage(
            before.usage[b], before.write_weights[b, 0], p.free_gates, before.read_weights[b], usage
        )
        allocation.allocation_weighting(usage, saved.order[b], free_locations)
        cosines, inverse, by_content = saved.write_cosines[b], saved.inverse_before[b], saved.write_content[b]
        content.content_weighting(before.memory[b], p.write_key, p.write_strength, cosines, inverse, by_content, bits)
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


@compiled
def _backward(
    mask: Array,
    sizes: tuple[int, int],
    d_reads: Array,
    d_interface: Array,
    before: _State,
    after: _State,
    saved: _Saved,
    gradient: _State,
) -> None:
    """Computes one backward step. Writes `d_interface`; `gradient` changes from after the step to before it."""
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

        kernels.read_backward(memory, after.read_weights[b], d_reads[b].reshape(heads, width), d_memory, d_read_weights)
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
        allocation.allocation_weighting_backward(after.usage[b], saved.order[b], free_locations, d_allocation, d_usage)
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
