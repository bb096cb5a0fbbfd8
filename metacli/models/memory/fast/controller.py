"""The controllers step by step, and back by hand; see `scan`."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from metacli.models.memory.controller import Controller
from metacli.models.memory.fast import rows
from metacli.models.memory.fast.rows import Array, compiled, scratch


def controller_scan(controller: Controller, inputs: Tensor, h: Tensor, c: Tensor) -> Any:
    """The scan of a controller over inputs (B, T, I) from the state h, c (B, layers, H)."""
    return LSTMScan(controller, inputs, h, c) if controller.recurrent else FeedforwardScan(controller, inputs, h, c)


class LSTMScan:
    """A stack of LSTM cells; gates in PyTorch's order i, f, g, o."""

    def __init__(self, controller: Controller, inputs: Tensor, h: Tensor, c: Tensor):
        self.inputs, size = inputs.transpose(0, 1), inputs.shape[2]  # (T, B, I)
        cells: Any = controller.layers
        self.h, self.c = list(h.unbind(1)), list(c.unbind(1))
        self.hidden = h.shape[2]
        self.weights, self.biases = [], []
        for n, cell in enumerate(cells):
            from_input, from_below = (
                cell.weight_ih.split([size, cell.weight_ih.shape[1] - size], 1) if n == 0 else (None, cell.weight_ih)
            )
            self.weights.append(torch.cat([from_below, cell.weight_hh], 1))  # (4 H, D + H)
            self.biases.append(cell.bias_ih + cell.bias_hh)
            if from_input is not None:
                self.input_weight = from_input
        first = torch.addmm(self.biases[0], self.inputs.flatten(0, 1), self.input_weight.mT)
        self.first_gates = first.unflatten(0, self.inputs.shape[:2])  # (T, B, 4 H)
        self.kept: list[list[_Cell]] = [[] for _ in self.weights]
        self.bits = scratch(self.hidden, self.first_gates.numpy().dtype)

    def forward(self, t: int, reads: Tensor, mask: Tensor | None, keep: bool) -> Tensor:
        """The output (B, H) of step t, given the reads (B, D) before; all stays where mask (B, 1) is False."""
        below = reads
        for n, weight in enumerate(self.weights):
            seen = torch.cat([below, self.h[n]], 1)
            gates = torch.addmm(self.first_gates[t] if n == 0 else self.biases[n], seen, weight.mT)
            before = self.c[n].contiguous()
            c, squashed, h = (torch.empty_like(before) for _ in range(3))
            _cell(*(x.numpy() for x in (gates, before, c, squashed, h)), self.bits)
            if keep:
                self.kept[n].append(_Cell(seen, gates, before, squashed))
            below = h
            self.h[n], self.c[n] = (
                (h, c) if mask is None else (torch.where(mask, h, self.h[n]), torch.where(mask, c, self.c[n]))
            )
        return below

    def last(self) -> tuple[Tensor, Tensor]:
        """The state (B, layers, H) h and c after the steps so far."""
        return torch.stack(self.h, 1), torch.stack(self.c, 1)

    def begin(self, d_h: Tensor | None, d_c: Tensor | None) -> None:
        """Start the way back from the gradient of the last state."""
        self.d_h, self.d_c = (
            [torch.zeros_like(h) for h in self.h] if d is None else list(d.unbind(1)) for d in (d_h, d_c)
        )
        self.d_gates: list[list[Tensor]] = [[] for _ in self.weights]

    def backward(self, t: int, d_output: Tensor, mask: Tensor | None) -> Tensor:
        """From the gradient of the output of step t (B, H), 0 where the mask is False, to that of its reads (B, D)."""
        d_below = d_output
        for n in reversed(range(len(self.weights))):
            cell = self.kept[n][t]
            d_h, d_c = self.d_h[n], self.d_c[n]
            held = None
            if mask is not None:
                held = d_h * ~mask, d_c * ~mask
                d_h, d_c = d_h * mask, d_c * mask
            d_h, d_c, d_gates = d_h + d_below, d_c.clone(), torch.empty_like(cell.gates)
            _cell_back(*(x.numpy() for x in (cell.gates, cell.before, cell.squashed, d_h, d_c, d_gates)))
            d_below, d_h = (d_gates @ self.weights[n]).split([self.weights[n].shape[1] - self.hidden, self.hidden], 1)
            self.d_h[n], self.d_c[n] = (d_h, d_c) if held is None else (d_h + held[0], d_c + held[1])
            self.d_gates[n].append(d_gates)
        return d_below

    def first(self) -> tuple[Tensor, Tensor]:
        """The gradient of the state before the first step."""
        return torch.stack(self.d_h, 1), torch.stack(self.d_c, 1)

    def gradients(self, of_inputs: bool) -> list[Tensor | None]:
        """The gradients of the inputs (None if not asked for) and of all parameters in their order."""
        found: list[Tensor | None] = [None]
        for n, kept in enumerate(self.kept):
            d_gates = torch.stack(self.d_gates[n][::-1])  # (T, B, 4 H)
            flat = d_gates.flatten(0, 1)
            d_weight = flat.mT @ torch.stack([cell.seen for cell in kept]).flatten(0, 1)
            d_below, d_again = d_weight.split([d_weight.shape[1] - self.hidden, self.hidden], 1)
            if n == 0:
                d_below = torch.cat([flat.mT @ self.inputs.flatten(0, 1), d_below], 1)
                if of_inputs:
                    found[0] = (flat @ self.input_weight).unflatten(0, d_gates.shape[:2]).transpose(0, 1)
            bias = flat.sum(0)
            found += [d_below, d_again, bias, bias]
        return found


class _Cell(NamedTuple):
    """What a step of a cell keeps: [below, h_{t-1}], the gates, c_{t-1} and tanh c_t."""

    seen: Tensor
    gates: Tensor
    before: Tensor
    squashed: Tensor


@compiled
def _cell(gates: Array, before: Array, c: Array, squashed: Array, h: Array, bits: Array) -> None:
    """Gates (B, 4 H) in the order i, f, g, o, squashed in place; c_t, tanh c_t and h_t (B, H) from c_{t-1}."""
    tasks, hidden = before.shape
    for b in range(tasks):
        row = gates[b]
        i, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        rows.sigmoid(i, i, bits)
        rows.sigmoid(f, f, bits)
        rows.tanh(g, g, bits)
        rows.sigmoid(o, o, bits)
        for j in range(hidden):
            c[b, j] = f[j] * before[b, j] + i[j] * g[j]
        rows.tanh(c[b], squashed[b], bits)
        for j in range(hidden):
            h[b, j] = o[j] * squashed[b, j]


@compiled
def _cell_back(gates: Array, before: Array, squashed: Array, d_h: Array, d_c: Array, d_gates: Array) -> None:
    """Gradient of `_cell` into `d_gates`, before their squashing; `d_c` turns from that of c_t to that of c_{t-1}."""
    tasks, hidden = before.shape
    for b in range(tasks):
        row, d_row = gates[b], d_gates[b]
        i, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        d_i, d_f = d_row[:hidden], d_row[hidden : 2 * hidden]
        d_g, d_o = d_row[2 * hidden : 3 * hidden], d_row[3 * hidden :]
        for j in range(hidden):
            d = d_c[b, j] + d_h[b, j] * o[j] * (1 - squashed[b, j] * squashed[b, j])
            d_i[j] = d * g[j] * i[j] * (1 - i[j])
            d_f[j] = d * before[b, j] * f[j] * (1 - f[j])
            d_g[j] = d * i[j] * (1 - g[j] * g[j])
            d_o[j] = d_h[b, j] * squashed[b, j] * o[j] * (1 - o[j])
            d_c[b, j] = d * f[j]


class FeedforwardScan:
    """A stack of tanh layers, which carries nothing from step to step; see `LSTMScan` for the methods."""

    def __init__(self, controller: Controller, inputs: Tensor, h: Tensor, c: Tensor):
        self.inputs, size = inputs.transpose(0, 1), inputs.shape[2]
        self.state = h, c
        layers: Any = controller.layers
        self.weights, self.biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
        self.input_weight, self.weights[0] = self.weights[0].split([size, self.weights[0].shape[1] - size], 1)
        first = torch.addmm(self.biases[0], self.inputs.flatten(0, 1), self.input_weight.mT)
        self.first_layer = first.unflatten(0, self.inputs.shape[:2])
        self.kept: list[list[Tensor]] = [[] for _ in range(len(self.weights) + 1)]

    def forward(self, t: int, reads: Tensor, mask: Tensor | None, keep: bool) -> Tensor:
        """See `LSTMScan.forward`."""
        below = reads
        for n, weight in enumerate(self.weights):
            if keep:
                self.kept[n].append(below)
            below = torch.addmm(self.first_layer[t] if n == 0 else self.biases[n], below, weight.mT).tanh_()
        if keep:
            self.kept[-1].append(below)
        return below

    def last(self) -> tuple[Tensor, Tensor]:
        """See `LSTMScan.last`."""
        return self.state

    def begin(self, d_h: Tensor | None, d_c: Tensor | None) -> None:
        """See `LSTMScan.begin`."""
        self.slopes = [1 - torch.stack(kept).square_() for kept in self.kept[1:]]
        self.d_layers: list[list[Tensor]] = [[] for _ in self.weights]

    def backward(self, t: int, d_output: Tensor, mask: Tensor | None) -> Tensor:
        """See `LSTMScan.backward`."""
        d_below = d_output
        for n in reversed(range(len(self.weights))):
            d_layer = d_below * self.slopes[n][t]
            self.d_layers[n].append(d_layer)
            d_below = d_layer @ self.weights[n]
        return d_below

    def first(self) -> tuple[None, None]:
        """See `LSTMScan.first`."""
        return None, None

    def gradients(self, of_inputs: bool) -> list[Tensor | None]:
        """See `LSTMScan.gradients`."""
        found: list[Tensor | None] = [None]
        for n in range(len(self.weights)):
            d_layer = torch.stack(self.d_layers[n][::-1])
            flat = d_layer.flatten(0, 1)
            d_weight = flat.mT @ torch.stack(self.kept[n]).flatten(0, 1)
            if n == 0:
                d_weight = torch.cat([flat.mT @ self.inputs.flatten(0, 1), d_weight], 1)
                if of_inputs:
                    found[0] = (flat @ self.input_weight).unflatten(0, d_layer.shape[:2]).transpose(0, 1)
            found += [d_weight, flat.sum(0)]
        return found
