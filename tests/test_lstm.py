"""The LSTM meta-learner: the fast path, the unroll and the formulas are one and the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metacli.episode import Mode, Spec
from metacli.models.lstm import LSTM


def make(mode: Mode = "sequence", layers: int = 2) -> LSTM:
    torch.manual_seed(0)
    return LSTM(LSTM.Config(hidden=5, layers=layers), Spec(mode, (4,), 2, 3, 20)).double()


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def data(batch: int = 3, steps: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, steps, 4).double(), torch.rand(batch, steps, 2).double()


@pytest.mark.parametrize("layers", [1, 3])
def test_fold_equals_the_fast_path(layers):
    model, (x, y) = make(layers=layers), data()
    inputs = model.encode_items(x, y)
    steps, last = model.unroll(model.initial_state(3), inputs)
    fast = model.adapt(x, y)
    torch.testing.assert_close(fast, last)
    torch.testing.assert_close(model.adapt(x[:, :4], y[:, :4]), steps[3].state)  # every state on the way
    answers = torch.stack([s.output for s in model.unroll(fast, model.encode_items(x, None))[0]], 1)
    torch.testing.assert_close(model.predict(fast, x), model.output(answers))


def test_fold_equals_the_fast_path_through_padding():
    model, (x, y) = make(), data()
    mask = torch.arange(6) < torch.tensor([[6], [1], [0]])  # the last task has no real item at all
    fast = model.adapt(x, y, mask)
    torch.testing.assert_close(fast, model.unroll(model.initial_state(3), model.encode_items(x, y), mask)[1])
    torch.testing.assert_close(fast.h[1:2], model.adapt(x[1:2, :1], y[1:2, :1]).h)
    assert fast.h[2].eq(0).all()
    assert fast.c[2].eq(0).all()


def test_states_are_the_formulas():
    """i, f, o = sigmoid, g = tanh; c = f c + i g; h = o tanh(c); layer upon layer."""
    model, (x, y) = make(), data(1)
    weights = {name: p.detach().numpy() for name, p in model.lstm.named_parameters()}
    h, c = np.zeros((2, 5)), np.zeros((2, 5))
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(x, y))
    for item, step in zip(model.encode_items(x, y)[0].numpy(), steps, strict=True):
        for n in range(2):
            gates = weights[f"weight_ih_l{n}"] @ item + weights[f"bias_ih_l{n}"]
            gates += weights[f"weight_hh_l{n}"] @ h[n] + weights[f"bias_hh_l{n}"]
            i, f, g, o = gates.reshape(4, 5)
            c[n] = sigmoid(f) * c[n] + sigmoid(i) * np.tanh(g)
            item = h[n] = sigmoid(o) * np.tanh(c[n])
        np.testing.assert_allclose(step.state.h[0].detach(), h, atol=1e-12)
        np.testing.assert_allclose(step.state.c[0].detach(), c, atol=1e-12)


def test_independent_queries_are_one_step_from_a_copy_of_phi():
    model, (x, y) = make("independent"), data()
    phi = model.adapt(x, y)
    logits = model.predict(phi, x)
    for q in range(6):
        one = model.step(phi, model.encode_items(x[:, q : q + 1], None)[:, 0])
        torch.testing.assert_close(logits[:, q], model.output(one.output))


def test_stream_reads_the_late_label_with_the_item():
    model, (x, y) = make("stream"), data()
    start = model.adapt(x[:, :0], y[:, :0])
    logits = model.predict(start, x, y)
    changed = y.clone()
    changed[:, 3] = 1 - changed[:, 3]
    moved = (model.predict(start, x, changed) - logits).abs().amax((0, 2)) > 1e-9
    assert moved.tolist() == [False, False, False, True, True, True]


def test_gradient_reaches_every_parameter_through_padding():
    model, (x, y) = make(), data()
    phi = model.adapt(x, y, torch.arange(6) < torch.tensor([[6], [2], [4]]))
    model.predict(phi, x).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
