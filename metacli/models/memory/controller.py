"""The controller of a memory network, which reads the input and controls the heads."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from metacli.models.trace import ArrayInfo

ControllerKind = Literal["lstm", "feedforward"]

STATE_INFO = {
    "h": ArrayInfo(("layer", "unit"), "h_t, the output of each layer of the LSTM, in (-1, 1)"),
    "c": ArrayInfo(("layer", "unit"), "c_t, the cells of each layer of the LSTM, unbounded"),
}


class ControllerState(NamedTuple):
    """The controller's recurrent state; of width 0 for a feedforward controller.

    Attributes:
        h: (B, layers, H) the output of each layer, in (-1, 1).
        c: (B, layers, H) the cell of each layer, unbounded.
    """

    h: Tensor
    c: Tensor


class Controller(nn.Module):
    """One step of a stacked LSTM or a feedforward network (Graves et al. 2014, section 3.3).

    The LSTM starts from zero. Its biases already let the first step differ from later ones, so a learnt initial state
    would add parameters without benefit. A feedforward controller has tanh layers, so that its output is bounded like
    the LSTM's.

    Args:
        kind: `lstm`, with a recurrent state, or `feedforward`, which relies on the external memory alone.
        input_size: I, width of the inputs: the features and the reads of the previous step.
        hidden: H, units of each layer.
        layers: number of layers.
    """

    def __init__(self, kind: ControllerKind, input_size: int, hidden: int, layers: int):
        super().__init__()
        sizes = [input_size] + [hidden] * (layers - 1)
        self.recurrent = kind == "lstm"
        self.state_width = hidden if self.recurrent else 0
        self.layers = nn.ModuleList(
            nn.LSTMCell(size, hidden) if self.recurrent else nn.Linear(size, hidden) for size in sizes
        )

    def initial_state(self, batch: int) -> ControllerState:
        """Returns the zero state before the first step: h and c (B, layers, H), or (B, layers, 0) for feedforward."""
        zero = next(self.parameters()).new_zeros(batch, len(self.layers), self.state_width)
        return ControllerState(zero, zero)

    def forward(self, inputs: Tensor, state: ControllerState) -> tuple[Tensor, ControllerState]:
        """Computes one step.

        Args:
            inputs: (B, I).
            state: the state after the previous step.

        Returns:
            The last layer's output (B, H), in (-1, 1), and the next state.
        """
        if not self.recurrent:
            for layer in self.layers:
                inputs = torch.tanh(layer(inputs))
            return inputs, state
        new_h, new_c = [], []
        for layer, h, c in zip(self.layers, state.h.unbind(1), state.c.unbind(1), strict=True):
            inputs, c = layer(inputs, (h, c))
            new_h.append(inputs)
            new_c.append(c)
        return inputs, ControllerState(torch.stack(new_h, 1), torch.stack(new_c, 1))
