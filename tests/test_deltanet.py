"""DeltaNet: the delta rule against a plain loop, chunks against the recurrence, extension, and what a trace shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_contract import data, make

from metacli.config.recipe import load_recipe
from metacli.episode import Episode
from metacli.errors import UsageError
from metacli.inspect.highlights import build_levels
from metacli.inspect.panels import build_panels
from metacli.inspect.trace import record_traces
from metacli.models.layers.delta_rule import Writes, delta_chunks, delta_each, delta_steps
from metacli.tasks.sequences.copy import Copy


def writes(count: int, seed: int = 0, decay: float = 2.0) -> tuple[torch.Tensor, Writes]:
    """W (2, 3, 4, 5) and `count` items; a retention of about sigmoid(decay)."""
    g = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(2, 3, count, n, generator=g, dtype=torch.float64) for n in (5, 5, 4))
    strength, log_retention = (torch.randn(2, 3, count, generator=g, dtype=torch.float64) for _ in range(2))
    unit = torch.nn.functional.normalize(key, dim=-1)
    log_retention = torch.nn.functional.logsigmoid(log_retention + decay)
    weights = torch.randn(2, 3, 4, 5, generator=g, dtype=torch.float64)
    return weights, Writes(query, unit, value, strength.sigmoid(), log_retention)


def test_a_step_equals_its_formula() -> None:
    weights, items = writes(6)
    reads, states = delta_steps(weights, items)
    query, key, value, strength, log_retention = (a[1, 2].numpy() for a in items)
    w = weights[1, 2].numpy()
    for t in range(6):
        kept = np.exp(log_retention[t]) * w
        w = kept + strength[t] * np.outer(value[t] - kept @ key[t], key[t])
        np.testing.assert_allclose(states[t][1, 2], w, atol=1e-12)
        np.testing.assert_allclose(reads[1, 2, t], w @ query[t], atol=1e-12)


def test_a_write_of_full_strength_replaces_what_was_at_its_key() -> None:
    weights, items = writes(1)
    _, states = delta_steps(weights, items._replace(strength=torch.ones(2, 3, 1).double()))
    held = (states[0] @ items.key[:, :, 0].unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(held, items.value[:, :, 0])


@pytest.mark.parametrize(("count", "chunk"), [(1, 4), (4, 4), (7, 3), (7, 64), (45, 8)])
@pytest.mark.parametrize("decay", [-5.0, 2.0, 1000.0])  # strong decay, some, none
def test_chunks_equal_single_steps_in_values_and_gradients(count, chunk, decay) -> None:
    results = []
    for compute in (delta_steps, lambda weights, items: delta_chunks(weights, items, chunk)):
        weights, items = writes(count, decay=decay)
        leaves = [weights.requires_grad_(), *(a.requires_grad_() for a in items)]
        reads, last = compute(weights, items)
        last = last[-1] if isinstance(last, list) else last
        gradients = torch.autograd.grad(reads.sin().sum() + last.cos().sum(), leaves)
        results.append([reads, last, *gradients])
    for one, other in zip(*results, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_the_gradient_of_chunks_is_the_numerical_one() -> None:
    weights, items = writes(4)
    leaves = [a[:1, :1].clone().requires_grad_() for a in (weights, *items)]
    assert torch.autograd.gradcheck(lambda w, *parts: delta_chunks(w, Writes(*parts), 3), leaves)


def test_items_that_each_follow_the_same_weights_equal_single_steps() -> None:
    weights, items = writes(5)
    reads = delta_each(weights, items)
    for t in range(5):
        alone = delta_steps(weights, Writes(*(a[:, :, t : t + 1] for a in items)))[0]
        torch.testing.assert_close(reads[:, :, t : t + 1], alone)


@pytest.mark.parametrize("mode", ["independent", "stream", "sequence"])
def test_both_scans_give_the_same_answers(mode) -> None:
    model, (x_train, y_train, x_test, y_previous) = make("deltanet", mode), data(mode)
    answers = []
    for scan in ("plain", "fast"):
        assert model.use_scan(scan, torch.device("cpu")).startswith(scan)
        answers.append(model.predict(model.adapt(x_train, y_train), x_test, y_previous))
    torch.testing.assert_close(*answers)


def test_the_traced_shares_are_the_derivatives_of_what_is_retrieved() -> None:
    model, (x_train, y_train, x_test, y_previous) = make("deltanet", "stream"), data("stream")
    nothing = torch.zeros(3, 5, 1).long()
    arrays = model.trace(Episode(x_train, y_train, x_test, nothing, torch.arange(3), y_previous)).arrays
    record: list[Writes] = []
    model._run_items(model.adapt(x_train, y_train), model.encode_items(x_test, y_previous), record=record)
    for layer, items in enumerate(record):
        value = items.value.detach().requires_grad_()
        reads, _ = delta_steps(torch.zeros(3, 2, 4, 4).double(), items._replace(value=value))
        heads = slice(2 * layer, 2 * layer + 2)
        torch.testing.assert_close(arrays["retrieved"].values[:, :, heads], reads.transpose(1, 2))
        for t in range(5):
            (gradient,) = torch.autograd.grad(reads[:, :, t, 0].sum(), value, retain_graph=True)
            shares = gradient[..., 0].abs() / gradient[..., 0].abs().sum(-1, keepdim=True)
            torch.testing.assert_close(arrays["read_shares"].values[:, t, heads], shares)


def test_a_query_retrieves_from_its_own_copy_of_phi() -> None:
    model, (x_train, y_train, x_test, _) = make("deltanet", "independent"), data("independent")
    arrays = model.trace(Episode(x_train, y_train, x_test, torch.zeros(3, 5, 1).long(), torch.arange(3), None)).arrays
    record: list[Writes] = []
    phi = model.adapt(x_train, y_train)
    model._run_items(phi, model.encode_items(x_test, None), is_query=True, record=record)
    for layer, items in enumerate(record):
        reads = delta_each(phi.weights[:, layer], items).transpose(1, 2)
        torch.testing.assert_close(arrays["retrieved"].values[:, 4:, 2 * layer : 2 * layer + 2], reads)


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="width 30 must be a multiple of heads, 4"):
        load_recipe("strokes_deltanet", ["model.width=30"])


def test_the_levels_of_the_chosen_heads_are_drawn() -> None:
    model = make("deltanet", "sequence", torch.float32)
    tasks = Copy(Copy.Config(width=4, max_length=6), 1)
    model = type(model)(model.config, tasks.spec)
    (trace,) = record_traces(model, tasks, "test", 0)
    levels = build_levels(trace, ["layer1.head0"])
    assert [title.split(",")[0] for title, _, _ in levels] == ["strength", "retention", "weight_norm"]
    assert all(names == ["layer1.head0"] and values.shape == (1, trace.steps) for _, values, names in levels)
    panels, _ = build_panels(trace, ["all"])
    assert [panel.title.split(",")[0] for panel in panels[4:]] == ["strength", "retention", "weight_norm"]
    assert all(panel.values.min() >= 0 and panel.values.max() <= 1 for panel in panels)
