"""The fast scan: all steps of a memory network as one autograd function with a hand-written gradient.

It computes the same values as `Recurrent.scan`. The memory's part of a step is one compiled loop over the tasks. The
input's part in the controller's first layer is one matrix product over all steps, and so is the gradient of each
weight. A memory network supports it if its `Access` names an `AccessScan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metacli.models.memory.fast.controller import make_controller_scan


class AccessScan(ABC):
    """The steps of an `Access`, forward and backward. It holds the state and its gradient between steps.

    Args:
        access: the memory access module.
        state: its state before the first step.
        steps: number of steps.
        keep: whether `backward` will be called.
    """

    @abstractmethod
    def __init__(self, access: Any, state: Any, steps: int, keep: bool): ...

    @abstractmethod
    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """Computes one step: returns the reads (B, R W) for the interface (B, I), 0 where the mask (B,) is False."""

    @abstractmethod
    def final_state(self) -> Any:
        """Returns the state after the steps so far; its `reads` are undefined."""

    @abstractmethod
    def start_backward(self, gradient: Any) -> None:
        """Starts the backward pass from the gradient of the final state, each field a tensor or None."""

    @abstractmethod
    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """Returns the gradient of the interface (B, I) of a step, given that of its reads (B, R W)."""

    @abstractmethod
    def initial_gradient(self) -> Any:
        """Returns the gradient of the state before the first step; its `reads` are undefined."""


class Tape:
    """Allocates arrays for all steps, or for the current step only if no backward pass follows.

    Args:
        like: a tensor of the arrays' dtype.
        batch: B.
        steps: T.
        keep: whether `backward` will be called.
    """

    def __init__(self, like: Tensor, batch: int, steps: int, keep: bool):
        self._dtype, self._batch, self._steps, self._keep = like.numpy().dtype, batch, steps, keep

    def allocate_states(self, *shape: int, initial: Tensor) -> np.ndarray:
        """Returns (T + 1, B, *shape), or (2, B, *shape), for a state over time, beginning with `initial`."""
        array = np.empty((self._steps + 1 if self._keep else 2, self._batch, *shape), self._dtype)
        array[0] = initial.numpy()
        return array

    def allocate_steps(self, *shape: int) -> np.ndarray:
        """Returns (T, B, *shape), or (1, B, *shape), for intermediate values of the steps."""
        return np.empty((self._steps if self._keep else 1, self._batch, *shape), self._dtype)

    def indices(self, t: int) -> tuple[int, int, int]:
        """Returns the index of step t in `allocate_steps`, and those of the states before and after it."""
        return (t, t, t + 1) if self._keep else (0, t % 2, 1 - t % 2)

    def gradient_buffer(self, like: np.ndarray, gradient: Tensor | None, transposed: bool = False) -> np.ndarray:
        """Returns an array to accumulate in: a copy of a gradient, its last axes `transposed`, or zeros like `like`."""
        if gradient is None:
            return np.zeros(like.shape, self._dtype)
        return np.array((gradient.mT if transposed else gradient).numpy(), order="C")


def scan(network: Any, state: Any, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Any]:
    """See `Recurrent.scan`."""
    parameters = [*network.controller.parameters(), *network.heads.parameters()]
    state_tensors = [*state.access, *state.controller]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (inputs, *state_tensors, *parameters))
    outputs, *final = _Scan.apply(network, inputs, mask, keep, len(state_tensors), *state_tensors, *parameters)
    access, controller = final[: len(state.access)], final[len(state.access) :]
    return outputs, type(state)(type(state.access)(*access), type(state.controller)(*controller))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, network: Any, inputs: Tensor, mask: Any, keep: bool, state_size: int, *tensors: Tensor
    ) -> Any:
        ctx.set_materialize_grads(False)
        state = network.access.state(*tensors[: state_size - 2])
        controller = make_controller_scan(network.controller, inputs, *tensors[state_size - 2 : state_size])
        access = network.access.load_fast_scan()(network.access, state, inputs.shape[1], keep)
        weight, bias = tensors[-2:]
        reads, masks = state.reads.flatten(1), _masks_by_step(mask, inputs)
        outputs, interfaces = [], []
        for t, (active, task_mask) in enumerate(masks):
            hidden = controller.forward(t, reads, active, keep)
            interface = torch.addmm(bias, hidden, weight.mT)
            step_reads = access.forward(interface, task_mask)
            outputs.append(torch.cat([hidden, step_reads], 1))
            reads = step_reads if active is None else torch.where(active, step_reads, reads)
            if keep:
                interfaces.append(interface)
        result = torch.stack(outputs, 1)
        if mask is not None:
            result = result * mask.unsqueeze(2)
        if keep:
            ctx.save_for_backward(*tensors[state_size:])
            ctx.saved = controller, access, masks, interfaces, result, hidden.shape[1], state_size
        return result, *access.final_state()._replace(reads=reads.view_as(state.reads)), *controller.final_state()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Any, *d_last: Any) -> Any:
        """Computes all backward steps: through the reads, the interface and the controller."""
        controller, access, masks, interfaces, outputs, hidden_size, state_size = ctx.saved
        del ctx.saved  # backward runs once; this frees the arrays
        weight, like = ctx.saved_tensors[-2], outputs[:, 0, hidden_size:]
        d_outputs = torch.zeros_like(outputs) if d_outputs is None else d_outputs
        d_state = access.access.state(*d_last[: state_size - 2])
        access.start_backward(d_state)
        controller.start_backward(*d_last[state_size - 2 :])
        d_reads = torch.zeros_like(like) if d_state.reads is None else d_state.reads.flatten(1)
        d_interfaces = []
        for t in reversed(range(len(masks))):
            active, task_mask = masks[t]
            d_hidden, d_output_reads = d_outputs[:, t].split([hidden_size, like.shape[1]], 1)
            d_step_reads, d_unmasked_reads = d_output_reads + d_reads, None
            if active is not None:
                d_hidden, d_step_reads, d_unmasked_reads = d_hidden * active, d_step_reads * active, d_reads * ~active
            d_interface = access.backward(interfaces.pop(), d_step_reads.contiguous(), task_mask)
            d_reads = controller.backward(t, torch.addmm(d_hidden, d_interface, weight), active)
            d_reads = d_reads if d_unmasked_reads is None else d_reads + d_unmasked_reads
            d_interfaces.append(d_interface)
        d_interface_rows = torch.stack(d_interfaces[::-1], 1).flatten(0, 1)  # (B T, I)
        hidden = outputs[..., :hidden_size].flatten(0, 1)
        d_access = access.initial_gradient()._replace(reads=d_reads.unflatten(1, (-1, access.access.config.width)))
        d_inputs, *d_weights = controller.gradients(ctx.needs_input_grad[1])
        d_state_tensors = *d_access, *controller.initial_gradient()
        return (
            None,
            d_inputs,
            None,
            None,
            None,
            *d_state_tensors,
            *d_weights,
            d_interface_rows.mT @ hidden,
            d_interface_rows.sum(0),
        )


def _masks_by_step(mask: Tensor | None, inputs: Tensor) -> list[tuple[Tensor | None, np.ndarray]]:
    """Returns the mask (B, T) of each step, as (B, 1), None if all True, and as an array (B,)."""
    all_tasks = np.ones(len(inputs), np.bool_)
    if mask is None:
        return [(None, all_tasks)] * inputs.shape[1]
    by_step = mask.mT.contiguous()
    return [
        (None, all_tasks) if step_mask.all() else (step_mask.unsqueeze(1), step_mask.numpy()) for step_mask in by_step
    ]
