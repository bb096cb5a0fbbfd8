"""The controller against PyTorch's whole-sequence LSTM and against the formula of a feed-forward net."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from metacli.models.memory.controller import Controller, ControllerState


def run(controller: Controller, x: torch.Tensor) -> tuple[torch.Tensor, ControllerState]:
    """(B, T, I) step by step: the outputs (B, T, H) and the last state."""
    state, outputs = controller.initial_state(x.shape[0]), []
    for item in x.unbind(1):
        output, state = controller(item, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def test_lstm_steps_are_the_whole_sequence_lstm_with_its_gradients():
    torch.manual_seed(0)
    controller, whole = Controller("lstm", 3, 4, 2).double(), nn.LSTM(3, 4, 2, batch_first=True).double()
    for n, cell in enumerate(controller.layers):
        for name, parameter in cell.named_parameters():
            parameter.data.copy_(getattr(whole, f"{name}_l{n}"))
    x = torch.randn(2, 5, 3).double()
    outputs, state = run(controller, x)
    expected, (h, c) = whole(x)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state, ControllerState(h.transpose(0, 1), c.transpose(0, 1)))
    outputs.square().sum().backward()
    expected.square().sum().backward()
    for n, cell in enumerate(controller.layers):
        for name, parameter in cell.named_parameters():
            torch.testing.assert_close(parameter.grad, getattr(whole, f"{name}_l{n}").grad)


def test_feedforward_is_a_chain_of_tanh_layers_and_remembers_nothing():
    torch.manual_seed(0)
    controller = Controller("feedforward", 3, 4, 2)
    x = 9 * torch.randn(2, 5, 3)
    outputs, state = run(controller, x)
    expected = x.numpy()
    for layer in controller.layers:
        weight, bias = (p.detach().numpy() for p in layer.parameters())
        expected = np.tanh(expected @ weight.T + bias)
    np.testing.assert_allclose(outputs.detach(), expected, atol=1e-5)
    assert state.h.shape == state.c.shape == (2, 2, 0)
