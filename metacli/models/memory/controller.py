"""The controller of a memory network: the part that reads the input and steers the heads."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from metacli.models.trace import ArrayInfo

ControllerKind = Literal["lstm", "feedforward"]

DESCRIBED = {
    "h": ArrayInfo(("layer", "unit"), "h_t, the output of each layer of the LSTM, in (-1, 1)"),
    "c": ArrayInfo(("layer", "unit"), "c_t, the cells of each layer of the LSTM, unbounded"),
}


class ControllerState(NamedTuple):
    """What the controller carries from step to step; of width 0 where it carries nothing (feedforward).

    Attributes:
        h: (B, layers, H) the output of each layer, in (-1, 1).
        c: (B, layers, H) the cell of each layer, unbounded.
    """

    h: Tensor
    c: Tensor


class Controller(nn.Module):
    """One step of a stacked LSTM or of a feed-forward net (Graves et al. 2014, section 3.3).

    The LSTM starts from zero: its biases already let the first step differ from the later ones, so a learnt start
    would add parameters and no power. A feed-forward controller has tanh layers, which bounds its output as the
    LSTM's is bounded.

    Args:
        kind: `lstm`, which has a memory of its own, or `feedforward`, which has the external memory alone.
        input_size: I, width of the inputs: the features and the reads of the step before.
        hidden: H, units of each layer.
        layers: how many layers.
    """

    def __init__(self, kind: ControllerKind, input_size: int, hidden: int, layers: int):
        super().__init__()
        sizes = [input_size] + [hidden] * (layers - 1)
        self.recurrent = kind == "lstm"
        self.width = hidden if self.recurrent else 0
        self.layers = nn.ModuleList(
            nn.LSTMCell(size, hidden) if self.recurrent else nn.Linear(size, hidden) for size in sizes
        )

    def initial(self, batch: int) -> ControllerState:
        """The state before the first step, zero: h and c of (B, layers, H), or (B, layers, 0) for feedforward."""
        zero = next(self.parameters()).new_zeros(batch, len(self.layers), self.width)
        return ControllerState(zero, zero)

    def forward(self, inputs: Tensor, state: ControllerState) -> tuple[Tensor, ControllerState]:
        """One step.

        Args:
            inputs: (B, I).
            state: the state after the step before.

        Returns:
            The last layer's output (B, H), in (-1, 1), and the next state.
        """
        if not self.recurrent:
            for layer in self.layers:
                inputs = torch.tanh(layer(inputs))
            return inputs, state
        hs, cs = [], []
        for layer, h, c in zip(self.layers, state.h.unbind(1), state.c.unbind(1), strict=True):
            inputs, c = layer(inputs, (h, c))
            hs.append(inputs)
            cs.append(c)
        return inputs, ControllerState(torch.stack(hs, 1), torch.stack(cs, 1))
