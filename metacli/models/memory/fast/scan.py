"""The fast scan: all steps of a memory network as one function with its gradient by hand, no graph for each step.

It computes what `Recurrent.scan` does, step after step, and keeps what the way back needs. The memory's part of a step
is one compiled loop over the tasks; the input's part in the controller's first layer and the gradients of all weights
are one matrix product each, over all steps. A memory network takes part if its `Access` names an `AccessScan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metacli.models.memory.fast.controller import controller_scan


class AccessScan(ABC):
    """An `Access` step by step, and back. The state and its gradient are kept inside from step to step.

    Args:
        access: the module of memory access.
        state: its state before the first step.
        steps: how many will follow.
        keep: whether `backward` will follow them.
    """

    @abstractmethod
    def __init__(self, access: Any, state: Any, steps: int, keep: bool): ...

    @abstractmethod
    def forward(self, interface: Tensor, mask: np.ndarray) -> Tensor:
        """One step: from the interface (B, I) to the reads (B, R W), 0 for tasks whose mask (B,) is False."""

    @abstractmethod
    def last(self) -> Any:
        """The state after the steps so far; its reads may be anything."""

    @abstractmethod
    def begin(self, gradient: Any) -> None:
        """Start the way back from the gradient of the last state, each field a tensor or None."""

    @abstractmethod
    def backward(self, interface: Tensor, d_reads: Tensor, mask: np.ndarray) -> Tensor:
        """One step back: the gradient of the interface (B, I), from that of the step's reads (B, R W)."""

    @abstractmethod
    def first(self) -> Any:
        """The gradient of the state before the first step; its reads may be anything."""


class Tape:
    """Arrays for all steps, or, where no way back follows, for the step at hand.

    Args:
        like: a tensor of their dtype.
        batch: B.
        steps: T.
        keep: whether `backward` will follow.
    """

    def __init__(self, like: Tensor, batch: int, steps: int, keep: bool):
        self._dtype, self._batch, self._steps, self._keep = like.numpy().dtype, batch, steps, keep

    def states(self, *shape: int, first: Tensor) -> np.ndarray:
        """(locations, B, *shape) for a part of the state, `first` in front."""
        array = np.empty((self._steps + 1 if self._keep else 2, self._batch, *shape), self._dtype)
        array[0] = first.numpy()
        return array

    def steps(self, *shape: int) -> np.ndarray:
        """(locations, B, *shape) for what a step computes on the way."""
        return np.empty((self._steps if self._keep else 1, self._batch, *shape), self._dtype)

    def places(self, t: int) -> tuple[int, int, int]:
        """Where step t stands in `steps`, and the states before and after it in `states`."""
        return (t, t, t + 1) if self._keep else (0, t % 2, 1 - t % 2)

    def gradient(self, like: np.ndarray, gradient: Tensor | None, transposed: bool = False) -> np.ndarray:
        """An array to add to: a gradient copied, its last two axes `transposed`; or zero, shaped as `like`."""
        if gradient is None:
            return np.zeros(like.shape, self._dtype)
        return np.array((gradient.mT if transposed else gradient).numpy(), order="C")


def scan(network: Any, state: Any, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Any]:
    """See `Recurrent.scan`."""
    parameters = [*network.controller.parameters(), *network.heads.parameters()]
    leaves = [*state.access, *state.controller]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (inputs, *leaves, *parameters))
    outputs, *last = _Scan.apply(network, inputs, mask, keep, len(leaves), *leaves, *parameters)
    access, controller = last[: len(state.access)], last[len(state.access) :]
    return outputs, type(state)(type(state.access)(*access), type(state.controller)(*controller))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, network: Any, inputs: Tensor, mask: Any, keep: bool, leaves: int, *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        state = network.access.state(*tensors[: leaves - 2])
        controller = controller_scan(network.controller, inputs, *tensors[leaves - 2 : leaves])
        access = network.access.scan_class()(network.access, state, inputs.shape[1], keep)
        weight, bias = tensors[-2:]
        reads, masks = state.reads.flatten(1), _by_step(mask, inputs)
        outputs, interfaces = [], []
        for t, (active, rows) in enumerate(masks):
            hidden = controller.forward(t, reads, active, keep)
            interface = torch.addmm(bias, hidden, weight.mT)
            now = access.forward(interface, rows)
            outputs.append(torch.cat([hidden, now], 1))
            reads = now if active is None else torch.where(active, now, reads)
            if keep:
                interfaces.append(interface)
        result = torch.stack(outputs, 1)
        if mask is not None:
            result = result * mask.unsqueeze(2)
        if keep:
            ctx.save_for_backward(*tensors[leaves:])
            ctx.kept = controller, access, masks, interfaces, result, hidden.shape[1], leaves
        return result, *access.last()._replace(reads=reads.view_as(state.reads)), *controller.last()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Any, *d_last: Any) -> Any:
        """Every step back: through the reads, the interface and the controller."""
        controller, access, masks, interfaces, outputs, hidden_size, leaves = ctx.kept
        del ctx.kept  # one way back; then the arrays are free
        weight, like = ctx.saved_tensors[-2], outputs[:, 0, hidden_size:]
        d_outputs = torch.zeros_like(outputs) if d_outputs is None else d_outputs
        d_state = access.access.state(*d_last[: leaves - 2])
        access.begin(d_state)
        controller.begin(*d_last[leaves - 2 :])
        d_reads = torch.zeros_like(like) if d_state.reads is None else d_state.reads.flatten(1)
        d_interfaces = []
        for t in reversed(range(len(masks))):
            active, rows = masks[t]
            d_hidden, d_read = d_outputs[:, t].split([hidden_size, like.shape[1]], 1)
            d_now, d_held = d_read + d_reads, None
            if active is not None:
                d_hidden, d_now, d_held = d_hidden * active, d_now * active, d_reads * ~active
            d_interface = access.backward(interfaces.pop(), d_now.contiguous(), rows)
            d_reads = controller.backward(t, torch.addmm(d_hidden, d_interface, weight), active)
            d_reads = d_reads if d_held is None else d_reads + d_held
            d_interfaces.append(d_interface)
        d_rows = torch.stack(d_interfaces[::-1], 1).flatten(0, 1)  # (B T, I)
        hidden = outputs[..., :hidden_size].flatten(0, 1)
        d_first = access.first()._replace(reads=d_reads.unflatten(1, (-1, access.access.config.width)))
        d_inputs, *d_weights = controller.gradients(ctx.needs_input_grad[1])
        d_leaves = *d_first, *controller.first()
        return None, d_inputs, None, None, None, *d_leaves, *d_weights, d_rows.mT @ hidden, d_rows.sum(0)


def _by_step(mask: Tensor | None, inputs: Tensor) -> list[tuple[Tensor | None, np.ndarray]]:
    """The mask (B, T) of each step, as (B, 1), None where it is all True, and as an array (B,)."""
    whole = np.ones(len(inputs), np.bool_)
    if mask is None:
        return [(None, whole)] * inputs.shape[1]
    rows = mask.mT.contiguous()
    return [(None, whole) if row.all() else (row.unsqueeze(1), row.numpy()) for row in rows]
