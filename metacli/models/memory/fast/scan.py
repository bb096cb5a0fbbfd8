"""The fast scan: all steps of a memory network as one autograd function with a hand-written gradient.

It computes the same values as `Recurrent.scan`. The loop over time is one compiled function for all steps forward, and
one for all steps backward: the controller's layers, the interface and the memory access. PyTorch computes what needs no
loop: the inputs' part of the controller's first layer is one matrix product over all steps, and so is the gradient of
each weight. A memory network supports it if its `Access` names an `AccessScan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metacli.models.memory.fast.controller import ControllerScan
from metacli.models.memory.fast.steps import StepGradients, Steps


class AccessScan(ABC):
    """The compiled time loop of an `Access`. It holds the access state of all steps, and its gradient.

    Args:
        access: the memory access module.
        state: its state before the first step.
        steps: number of steps.
        keep: whether `backward` will be called.
    """

    @abstractmethod
    def __init__(self, access: Any, state: Any, steps: int, keep: bool): ...

    @abstractmethod
    def forward(self, steps: Steps) -> None:
        """Computes all steps: at each, `compute_interface`, the access where the mask is True, and `store_reads`."""

    @abstractmethod
    def final_state(self) -> Any:
        """Returns the state after the last step; its `reads` are undefined."""

    @abstractmethod
    def backward(self, steps: Steps, gradients: StepGradients, d_state: Any) -> Any:
        """Computes all backward steps: at each, `compute_reads_gradient`, the access, and `compute_interface_backward`.

        Args:
            d_state: the gradient of the final state, each field a tensor or None.

        Returns:
            The gradient of the state before the first step; its `reads` are undefined.
        """


def scan(network: Any, state: Any, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Any]:
    """See `Recurrent.scan`."""
    parameters = [*network.controller.parameters(), *network.heads.parameters()]
    state_tensors = [*state.access, *state.controller]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (inputs, *state_tensors, *parameters))
    outputs, *final = _Scan.apply(network, inputs, mask, keep, len(state.access), *state_tensors, *parameters)
    access, controller = final[: len(state.access)], final[len(state.access) :]
    return outputs, type(state)(type(state.access)(*access), type(state.controller)(*controller))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, network: Any, inputs: Tensor, mask: Any, keep: bool, access_size: int, *tensors: Tensor
    ) -> Any:
        ctx.set_materialize_grads(False)
        state, (h, c) = network.access.state(*tensors[:access_size]), tensors[access_size : access_size + 2]
        controller = ControllerScan(network, inputs, mask, (state.reads.flatten(1), h, c), keep)
        access = network.access.load_fast_scan()(network.access, state, inputs.shape[1], keep)
        access.forward(controller.steps)
        if keep:
            ctx.saved = network.access.state, controller, access
        reads, h, c = controller.final_state()
        final_state = access.final_state()._replace(reads=reads.view_as(state.reads))
        return torch.from_numpy(controller.steps.outputs), *final_state, h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: Any, *d_last: Any) -> Any:
        """Computes all backward steps: through the reads, the interface and the controller."""
        make_state, controller, access = ctx.saved
        del ctx.saved  # backward runs once; this frees the arrays
        d_state, d_controller = make_state(*d_last[:-2]), d_last[-2:]
        d_reads = None if d_state.reads is None else d_state.reads.flatten(1)
        controller.start_backward(d_outputs, d_reads, *d_controller)
        d_access = access.backward(controller.steps, controller.gradients, d_state)
        d_reads, *d_controller = controller.initial_gradient()
        d_access = d_access._replace(reads=d_reads.unflatten(1, (-1, access.access.config.width)))
        d_inputs, *d_parameters = controller.parameter_gradients(ctx.needs_input_grad[1])
        return None, d_inputs, None, None, None, *d_access, *d_controller, *d_parameters
