"""The controllers' steps, forward and backward with hand-written gradients; see `scan`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from metacli.models.memory.controller import Controller
from metacli.models.memory.fast import elementwise
from metacli.models.memory.fast.elementwise import Array, compiled, make_scratch


def make_controller_scan(controller: Controller, inputs: Tensor, h: Tensor, c: Tensor) -> Any:
    """Returns the scan of a controller over inputs (B, T, I) from the state h, c (B, layers, H)."""
    return LSTMScan(controller, inputs, h, c) if controller.recurrent else FeedforwardScan(controller, inputs, h, c)


class LSTMScan:
    """A stack of LSTM cells; gates in PyTorch's order i, f, g, o."""

    def __init__(self, controller: Controller, inputs: Tensor, h: Tensor, c: Tensor):
        self.inputs, input_width = inputs.transpose(0, 1), inputs.shape[2]  # (T, B, I)
        cells: Any = controller.layers
        self.h, self.c = list(h.unbind(1)), list(c.unbind(1))
        self.hidden = h.shape[2]
        self.weights, self.biases = [], []
        for layer, cell in enumerate(cells):
            input_part, other_part = (
                cell.weight_ih.split([input_width, cell.weight_ih.shape[1] - input_width], 1)
                if layer == 0
                else (None, cell.weight_ih)
            )
            self.weights.append(torch.cat([other_part, cell.weight_hh], 1))  # (4 H, D + H)
            self.biases.append(cell.bias_ih + cell.bias_hh)
            if input_part is not None:
                self.input_weight = input_part
        input_gates = torch.addmm(self.biases[0], self.inputs.flatten(0, 1), self.input_weight.mT)
        self.first_gates = input_gates.unflatten(0, self.inputs.shape[:2])  # (T, B, 4 H)
        self.saved: list[list[_SavedCell]] = [[] for _ in self.weights]
        self.bits = make_scratch(self.hidden, self.first_gates.numpy().dtype)

    def forward(self, t: int, reads: Tensor, mask: Tensor | None, keep: bool) -> Tensor:
        """Returns the output (B, H) of step t, given the previous reads (B, D). Keeps the state where mask is False."""
        output = reads
        for layer, weight in enumerate(self.weights):
            cell_input = torch.cat([output, self.h[layer]], 1)
            gates = torch.addmm(self.first_gates[t] if layer == 0 else self.biases[layer], cell_input, weight.mT)
            c_before = self.c[layer].contiguous()
            c, tanh_c, h = (torch.empty_like(c_before) for _ in range(3))
            _cell_forward(*(x.numpy() for x in (gates, c_before, c, tanh_c, h)), self.bits)
            if keep:
                self.saved[layer].append(_SavedCell(cell_input, gates, c_before, tanh_c))
            output = h
            self.h[layer], self.c[layer] = (
                (h, c) if mask is None else (torch.where(mask, h, self.h[layer]), torch.where(mask, c, self.c[layer]))
            )
        return output

    def final_state(self) -> tuple[Tensor, Tensor]:
        """Returns the state h and c (B, layers, H) after the steps so far."""
        return torch.stack(self.h, 1), torch.stack(self.c, 1)

    def start_backward(self, d_h: Tensor | None, d_c: Tensor | None) -> None:
        """Starts the backward pass from the gradient of the final state."""
        self.d_h, self.d_c = (
            [torch.zeros_like(h) for h in self.h] if d is None else list(d.unbind(1)) for d in (d_h, d_c)
        )
        self.d_gates: list[list[Tensor]] = [[] for _ in self.weights]

    def backward(self, t: int, d_output: Tensor, mask: Tensor | None) -> Tensor:
        """Returns the gradient of the reads (B, D) of step t from that of its output (B, H), 0 where mask is False."""
        d_output_below = d_output
        for layer in reversed(range(len(self.weights))):
            cell = self.saved[layer][t]
            d_h, d_c = self.d_h[layer], self.d_c[layer]
            d_unmasked = None
            if mask is not None:
                d_unmasked = d_h * ~mask, d_c * ~mask
                d_h, d_c = d_h * mask, d_c * mask
            d_h, d_c, d_gates = d_h + d_output_below, d_c.clone(), torch.empty_like(cell.gates)
            _cell_backward(*(x.numpy() for x in (cell.gates, cell.c_before, cell.tanh_c, d_h, d_c, d_gates)))
            d_output_below, d_h = (d_gates @ self.weights[layer]).split(
                [self.weights[layer].shape[1] - self.hidden, self.hidden], 1
            )
            self.d_h[layer], self.d_c[layer] = (
                (d_h, d_c) if d_unmasked is None else (d_h + d_unmasked[0], d_c + d_unmasked[1])
            )
            self.d_gates[layer].append(d_gates)
        return d_output_below

    def initial_gradient(self) -> tuple[Tensor, Tensor]:
        """Returns the gradient of the state before the first step."""
        return torch.stack(self.d_h, 1), torch.stack(self.d_c, 1)

    def gradients(self, needs_inputs: bool) -> list[Tensor | None]:
        """Returns the gradients of the inputs (None unless needed) and of all parameters in order."""
        gradients: list[Tensor | None] = [None]
        for layer, saved in enumerate(self.saved):
            d_gates = torch.stack(self.d_gates[layer][::-1])  # (T, B, 4 H)
            flat = d_gates.flatten(0, 1)
            d_weight = flat.mT @ torch.stack([cell.cell_input for cell in saved]).flatten(0, 1)
            d_input_weight, d_recurrent_weight = d_weight.split([d_weight.shape[1] - self.hidden, self.hidden], 1)
            if layer == 0:
                d_input_weight = torch.cat([flat.mT @ self.inputs.flatten(0, 1), d_input_weight], 1)
                if needs_inputs:
                    gradients[0] = (flat @ self.input_weight).unflatten(0, d_gates.shape[:2]).transpose(0, 1)
            bias = flat.sum(0)
            gradients += [d_input_weight, d_recurrent_weight, bias, bias]
        return gradients


class _SavedCell(NamedTuple):
    """What backward needs of a cell's step: its input with h_{t-1}, the gates, c_{t-1} and tanh c_t."""

    cell_input: Tensor
    gates: Tensor
    c_before: Tensor
    tanh_c: Tensor


@compiled
def _cell_forward(gates: Array, c_before: Array, c: Array, tanh_c: Array, h: Array, bits: Array) -> None:
    """Applies the activations of the gates (B, 4 H), i, f, g, o, in place; writes c_t, tanh c_t and h_t (B, H)."""
    tasks, hidden = c_before.shape
    for b in range(tasks):
        row = gates[b]
        i, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        elementwise.sigmoid(i, i, bits)
        elementwise.sigmoid(f, f, bits)
        elementwise.tanh(g, g, bits)
        elementwise.sigmoid(o, o, bits)
        for j in range(hidden):
            c[b, j] = f[j] * c_before[b, j] + i[j] * g[j]
        elementwise.tanh(c[b], tanh_c[b], bits)
        for j in range(hidden):
            h[b, j] = o[j] * tanh_c[b, j]


@compiled
def _cell_backward(gates: Array, c_before: Array, tanh_c: Array, d_h: Array, d_c: Array, d_gates: Array) -> None:
    """Writes the gradient of the gates before their activations into `d_gates`; `d_c` becomes that of c_{t-1}."""
    tasks, hidden = c_before.shape
    for b in range(tasks):
        row, d_row = gates[b], d_gates[b]
        i, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        d_i, d_f = d_row[:hidden], d_row[hidden : 2 * hidden]
        d_g, d_o = d_row[2 * hidden : 3 * hidden], d_row[3 * hidden :]
        for j in range(hidden):
            d = d_c[b, j] + d_h[b, j] * o[j] * (1 - tanh_c[b, j] * tanh_c[b, j])
            d_i[j] = d * g[j] * i[j] * (1 - i[j])
            d_f[j] = d * c_before[b, j] * f[j] * (1 - f[j])
            d_g[j] = d * i[j] * (1 - g[j] * g[j])
            d_o[j] = d_h[b, j] * tanh_c[b, j] * o[j] * (1 - o[j])
            d_c[b, j] = d * f[j]


class FeedforwardScan:
    """A stack of tanh layers without recurrent state; see `LSTMScan` for the methods."""

    def __init__(self, controller: Controller, inputs: Tensor, h: Tensor, c: Tensor):
        self.inputs, input_width = inputs.transpose(0, 1), inputs.shape[2]
        self.state = h, c
        layers: Any = controller.layers
        self.weights, self.biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        self.input_weight, self.weights[0] = self.weights[0].split(
            [input_width, self.weights[0].shape[1] - input_width], 1
        )
        input_part = torch.addmm(self.biases[0], self.inputs.flatten(0, 1), self.input_weight.mT)
        self.first_layer = input_part.unflatten(0, self.inputs.shape[:2])
        self.saved: list[list[Tensor]] = [[] for _ in range(len(self.weights) + 1)]

    def forward(self, t: int, reads: Tensor, mask: Tensor | None, keep: bool) -> Tensor:
        """See `LSTMScan.forward`."""
        output = reads
        for layer, weight in enumerate(self.weights):
            if keep:
                self.saved[layer].append(output)
            output = torch.addmm(self.first_layer[t] if layer == 0 else self.biases[layer], output, weight.mT).tanh_()
        if keep:
            self.saved[-1].append(output)
        return output

    def final_state(self) -> tuple[Tensor, Tensor]:
        """See `LSTMScan.final_state`."""
        return self.state

    def start_backward(self, d_h: Tensor | None, d_c: Tensor | None) -> None:
        """See `LSTMScan.start_backward`."""
        self.slopes = [1 - torch.stack(outputs).square_() for outputs in self.saved[1:]]
        self.d_layers: list[list[Tensor]] = [[] for _ in self.weights]

    def backward(self, t: int, d_output: Tensor, mask: Tensor | None) -> Tensor:
        """See `LSTMScan.backward`."""
        d_output_below = d_output
        for layer in reversed(range(len(self.weights))):
            d_layer = d_output_below * self.slopes[layer][t]
            self.d_layers[layer].append(d_layer)
            d_output_below = d_layer @ self.weights[layer]
        return d_output_below

    def initial_gradient(self) -> tuple[None, None]:
        """See `LSTMScan.initial_gradient`."""
        return None, None

    def gradients(self, needs_inputs: bool) -> list[Tensor | None]:
        """See `LSTMScan.gradients`."""
        gradients: list[Tensor | None] = [None]
        for layer in range(len(self.weights)):
            d_layer = torch.stack(self.d_layers[layer][::-1])
            flat = d_layer.flatten(0, 1)
            d_weight = flat.mT @ torch.stack(self.saved[layer]).flatten(0, 1)
            if layer == 0:
                d_weight = torch.cat([flat.mT @ self.inputs.flatten(0, 1), d_weight], 1)
                if needs_inputs:
                    gradients[0] = (flat @ self.input_weight).unflatten(0, d_layer.shape[:2]).transpose(0, 1)
            gradients += [d_weight, flat.sum(0)]
        return gradients
