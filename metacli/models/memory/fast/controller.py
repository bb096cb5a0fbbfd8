"""The controller's arrays of all steps, and the gradients of its parameters; see `scan`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from metacli.models.memory.fast.elementwise import make_scratch
from metacli.models.memory.fast.steps import StepGradients, Steps
from metacli.models.memory.fast.tape import Tape, gradient_buffer


class ControllerScan:
    """The controller over all steps: makes the arrays, and turns their gradients into those of the parameters.

    Args:
        network: the memory network.
        inputs: (B, T, I).
        mask: (B, T) bool, or None: all True.
        state: reads (B, D), h and c (B, layers, H) before the first step; h and c of width 0 for a feedforward one.
        keep: whether a backward pass follows.
    """

    def __init__(
        self, network: Any, inputs: Tensor, mask: Tensor | None, state: tuple[Tensor, Tensor, Tensor], keep: bool
    ):
        controller, heads, (reads, h, c) = network.controller, network.heads, state
        (batch, steps, input_width), layers = inputs.shape, len(controller.layers)
        self.hidden, self.reads_size, self.state_width = heads.in_features, reads.shape[1], h.shape[2]
        self.widths = [self.reads_size + self.state_width] + [self.hidden + self.state_width] * (layers - 1)  # V
        self.inputs = inputs.transpose(0, 1).flatten(0, 1)  # (T B, I)
        parameters = [_layer_parameters(layer) for layer in controller.layers]
        biases = torch.stack([bias for *_, bias in parameters])
        self.input_weight, first_weight = parameters[0][0].tensor_split([input_width], 1)
        input_gates = torch.addmm(biases[0], self.inputs, self.input_weight.mT)
        self.weights = inputs.new_zeros(layers, max(self.widths), biases.shape[1])
        cell_input = inputs.new_zeros(layers, batch, max(self.widths))
        cell_input[0, :, : self.reads_size] = reads
        for layer, width in enumerate(self.widths):
            weight, recurrent_weight, _ = parameters[layer]
            self.weights[layer, : width - self.state_width] = (weight if layer else first_weight).mT
            if recurrent_weight is not None:
                self.weights[layer, width - self.hidden : width] = recurrent_weight.mT
                cell_input[layer, :, width - self.hidden : width] = h[:, layer]

        tape = Tape(inputs, steps, keep)
        self.final_index = tape.final_index
        self.steps = Steps(
            mask=np.ones((steps, batch), np.bool_) if mask is None else mask.mT.contiguous().numpy(),
            keep=keep,
            recurrent=controller.recurrent,
            hidden=self.hidden,
            input_gates=input_gates.unflatten(0, (steps, batch)).numpy(),
            widths=np.array(self.widths),
            weights=self.weights.numpy(),
            biases=biases.numpy(),
            interface_weight=heads.weight.mT.contiguous().numpy(),
            interface_bias=heads.bias.numpy(),
            cell_inputs=tape.allocate_states(cell_input),
            cells=tape.allocate_states(c.transpose(0, 1)),
            gates=tape.allocate_steps(layers, batch, biases.shape[1]),
            tanh_cells=tape.allocate_steps(layers, batch, self.state_width),
            interface=tape.allocate_steps(batch, heads.out_features),
            reads=np.zeros((batch, self.reads_size), tape.dtype),
            outputs=np.empty((batch, steps, self.hidden + self.reads_size), tape.dtype),
            bits=make_scratch(2 * self.hidden, tape.dtype),
        )

    def final_state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the reads, h and c after the last step, shaped as `state`."""
        cell_inputs = torch.from_numpy(self.steps.cell_inputs[self.final_index])
        h = [rows[:, width - self.state_width : width] for rows, width in zip(cell_inputs, self.widths, strict=True)]
        c = torch.from_numpy(self.steps.cells[self.final_index])
        return cell_inputs[0, :, : self.reads_size].clone(), torch.stack(h, 1), c.transpose(0, 1).contiguous()

    def start_backward(
        self, d_outputs: Tensor | None, d_reads: Tensor | None, d_h: Tensor | None, d_c: Tensor | None
    ) -> None:
        """Starts the backward pass from the gradients of the outputs and of the final state."""
        steps, dtype = self.steps, self.steps.outputs.dtype
        self.gradients = StepGradients(
            weights=self.weights.mT.contiguous().numpy(),
            interface_weight=steps.interface_weight.T.copy(),
            outputs=np.zeros_like(steps.outputs) if d_outputs is None else d_outputs.contiguous().numpy(),
            interface=np.zeros_like(steps.interface),
            gates=np.empty_like(steps.gates),
            h=gradient_buffer(steps.cells[0], d_h, (0, 1)),
            cells=gradient_buffer(steps.cells[0], d_c, (0, 1)),
            state_reads=gradient_buffer(steps.reads, d_reads),
            reads=np.empty_like(steps.reads),
            hidden=np.empty((len(steps.reads), self.hidden), dtype),
            cell_input=np.empty(steps.cell_inputs.shape[2:], dtype),
        )

    def initial_gradient(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the gradients of the reads, h and c before the first step."""
        reads, h, c = (
            torch.from_numpy(d) for d in (self.gradients.state_reads, self.gradients.h, self.gradients.cells)
        )
        return reads, h.transpose(0, 1), c.transpose(0, 1)

    def parameter_gradients(self, needs_inputs: bool) -> list[Tensor | None]:
        """Returns the gradients of the inputs (None unless needed) and of all parameters, the interface's last."""
        d_gates, cell_inputs = torch.from_numpy(self.gradients.gates), torch.from_numpy(self.steps.cell_inputs)[:-1]
        gradients: list[Tensor | None] = [None]
        for layer, width in enumerate(self.widths):
            d_rows = d_gates[:, layer].flatten(0, 1)  # (T B, G)
            d_weight = d_rows.mT @ cell_inputs[:, layer].flatten(0, 1)[:, :width]
            if layer == 0:
                d_weight = torch.cat([d_rows.mT @ self.inputs, d_weight], 1)
                if needs_inputs:
                    gradients[0] = (d_rows @ self.input_weight).unflatten(0, (len(d_gates), -1)).transpose(0, 1)
            d_bias = d_rows.sum(0)
            if self.state_width:
                gradients += [*d_weight.tensor_split([d_weight.shape[1] - self.hidden], 1), d_bias, d_bias]
            else:
                gradients += [d_weight, d_bias]
        d_interface = torch.from_numpy(self.gradients.interface).flatten(0, 1)
        hidden = torch.from_numpy(self.steps.outputs)[..., : self.hidden].transpose(0, 1).flatten(0, 1)
        return [*gradients, d_interface.mT @ hidden, d_interface.sum(0)]


def _layer_parameters(layer: Any) -> tuple[Tensor, Tensor | None, Tensor]:
    """Returns the weight of a layer's input, the recurrent weight (None for a feedforward layer), and the bias (G,)."""
    if isinstance(layer, torch.nn.LSTMCell):
        return layer.weight_ih, layer.weight_hh, layer.bias_ih + layer.bias_hh
    return layer.weight, None, layer.bias
