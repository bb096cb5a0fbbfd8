"""RMSProp as the NTM paper cites it, against a loop over single numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from metacli.config.train import TrainConfig
from metacli.registry import TASKS, build, resolve
from metacli.training.optimizer import GravesRMSprop, clip_gradients, make_optimizer, scale_loss, set_learning_rate

GRADIENTS = np.random.default_rng(0).normal(size=(12, 2, 3)) * np.logspace(-4, 0, 12)[:, None, None]


def by_loops(start, gradients, rates, decay, momentum, floor, weight_decay):
    """Graves 2013, equations 38 to 41, one weight at a time."""
    weights = start.copy()
    for place in np.ndindex(start.shape):
        n = g = delta = 0.0
        for gradient, rate in zip(gradients, rates, strict=True):
            e = gradient[place] + weight_decay * weights[place]
            n = decay * n + (1 - decay) * e**2
            g = decay * g + (1 - decay) * e
            delta = momentum * delta - rate * e / math.sqrt(n - g**2 + floor)
            weights[place] += delta
    return weights


def trained(optimizer, weight, gradients, rates):
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    return weight.detach().numpy()


@pytest.mark.parametrize("keys", [{}, {"decay": 0.8, "momentum": 0.5, "floor": 1e-2}, {"weight_decay": 0.1}])
def test_the_update_is_that_of_the_equations(keys):
    start, rates = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(1e-4, 1e-2, 12)
    weight = torch.nn.Parameter(torch.from_numpy(start.copy()))
    got = trained(GravesRMSprop([weight], **keys), weight, GRADIENTS, rates)
    keys = {"decay": 0.95, "momentum": 0.9, "floor": 1e-4, "weight_decay": 0.0} | keys
    np.testing.assert_allclose(got, by_loops(start, GRADIENTS, rates, **keys), rtol=1e-12)


def test_torchs_centred_form_is_another_one():
    """PyTorch adds eps after the root: for a gradient whose variance is far below 1e-4 that is a hundredth of it."""
    found = []
    for kind in (GravesRMSprop, lambda p: torch.optim.RMSprop(p, 1e-4, 0.95, 1e-4, momentum=0.9, centered=True)):
        weight = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
        found.append(np.abs(trained(kind([weight]), weight, 1e-2 * GRADIENTS, [1e-4] * 12)).max())
    assert found[1] > 5 * found[0]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "rmsprop-graves"])
def test_the_encoder_has_a_share_of_the_rate(name):
    """Under a schedule too; a model without any such weights has one rate."""
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 3), "rest": torch.nn.Linear(3, 1)})
    cfg = TrainConfig(optimizer=name, lr=1e-2, encoder_rate=0.1, schedule="cosine", steps=10)
    optimizer = make_optimizer(model, cfg)
    for step in (0, 5):
        set_learning_rate(optimizer, cfg.learning_rate(step))
        rates = {id(w): group["lr"] for group in optimizer.param_groups for w in group["params"]}
        for weight_name, weight in model.named_parameters():
            share = 0.1 if weight_name.startswith("encoder") else 1
            assert rates[id(weight)] == pytest.approx(share * cfg.learning_rate(step))
    assert len(make_optimizer(model["rest"], cfg).param_groups) == 1


def test_the_recipe_chooses_it():
    model = torch.nn.Linear(2, 1)
    cfg = TrainConfig(optimizer="rmsprop-graves", lr=3e-5, momentum=0.7, weight_decay=0.2)
    group = make_optimizer(model, cfg).param_groups[0]
    assert {k: group[k] for k in ("lr", "momentum", "weight_decay", "decay", "floor")} == {
        "lr": 3e-5,
        "momentum": 0.7,
        "weight_decay": 0.2,
        "decay": 0.95,
        "floor": 1e-4,
    }


def test_constant_gradients_leave_no_negative_variance():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = GravesRMSprop([weight], floor=1e-12)
    for _ in range(300):
        weight.grad = torch.tensor([0.1, 0.3, 0.7])
        optimizer.step()
    assert not weight.isnan().any()


def test_a_parameter_without_a_gradient_stays():
    still, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = GravesRMSprop([still, moved])
    moved.grad = torch.ones(2)
    optimizer.step()
    assert still.equal(torch.ones(2))
    assert (moved < 1).all()


def test_the_sum_is_that_of_a_sequence_mean_over_the_batch():
    tasks = build(TASKS, resolve(TASKS, "copy", "task").Config(width=3, max_length=5), 0)
    episode = tasks.batch("train", 0, 4)
    logits = torch.randn(*episode.y_test.shape[:2], tasks.spec.out_size)
    bits = [
        np.log1p(np.exp(-x if y > 0.5 else x))
        for x, y, asked in zip(logits, episode.y_test, episode.mask_test, strict=True)
        for x, y in zip(x[asked].flatten().tolist(), y[asked].flatten().tolist(), strict=True)
    ]
    loss, size = tasks.loss(logits, episode), (tasks.loss_weight(episode), len(episode))
    assert scale_loss(loss, *size, TrainConfig(loss="sum")).item() == pytest.approx(sum(bits) / 4, rel=1e-5)
    assert scale_loss(loss, *size, TrainConfig()) is loss


def test_the_sum_without_a_mask_counts_every_label_character():
    keys = {"classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3, "queries": 2}
    tasks = build(TASKS, resolve(TASKS, "strokes", "task").Config(**keys), 0)
    episode = tasks.batch("train", 0, 2)
    loss, size = tasks.loss(torch.randn(2, 6, 3), episode), (tasks.loss_weight(episode), len(episode))
    assert scale_loss(loss, *size, TrainConfig(loss="sum")).item() == pytest.approx(6 * loss.item(), rel=1e-6)


@pytest.mark.parametrize(("size", "told"), [(1e-3, 5e-3), (1e23, 5e23), (0.0, 0.0), (math.inf, math.nan)])
def test_a_gradient_whose_squares_overflow_is_clipped_like_any_other(size, told):
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 0.0]]) * size, torch.tensor([4.0]) * size
    norm = clip_gradients(model, TrainConfig(clip_norm=0.5))
    assert float(norm) == pytest.approx(told, rel=1e-5, nan_ok=True)
    if size == 1e23:
        torch.testing.assert_close(model.weight.grad, torch.tensor([[0.3, 0.0]]))
        torch.testing.assert_close(model.bias.grad, torch.tensor([0.4]))
        model.bias.grad *= 1e24
        assert clip_gradients(model, TrainConfig()).isinf()  # as it is: an optimiser squares it too
