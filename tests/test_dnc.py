"""The Differentiable Neural Computer against loops written from the paper, its bounds, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from metacli.episode import Spec
from metacli.models.memory import allocation, linkage
from metacli.models.memory.dnc import DNC

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 8))  # B, R, L
quick = settings(max_examples=25, deadline=None)


def partial(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Weights that sum to 1 at most, some of them nearly one-hot."""
    w = rng.dirichlet(np.full(shape[-1] + 1, 10.0 ** rng.uniform(-2, 1)), size=shape[:-1])
    return w[..., :-1]


def call(function, *arrays: np.ndarray) -> np.ndarray:
    return function(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)).numpy()


def naive_allocation(usage: np.ndarray) -> np.ndarray:
    """Of one task: the free list, then its running product."""
    order = sorted(range(len(usage)), key=lambda i: (round(usage[i] / allocation.USAGE_RESOLUTION), i))
    a, product = np.zeros_like(usage), 1.0
    for i in order:
        u = allocation.USAGE_FLOOR + (1 - allocation.USAGE_FLOOR) * usage[i]
        a[i] = (1 - u) * product
        product *= u
    return a


@quick
@given(seeds, sizes)
def test_retention_usage_and_allocation_are_the_formulas(seed, size):
    rng, (batch, heads, length) = np.random.default_rng(seed), size
    gates, reads = rng.uniform(size=(batch, heads, 1)), partial(rng, batch, heads, length)
    before, writes = rng.uniform(size=(batch, length)), partial(rng, batch, length)
    psi = call(allocation.retention_vector, gates, reads)
    usage = call(allocation.update_usage, before, writes, psi)
    free = call(allocation.allocation_weighting, usage)
    for b in range(batch):
        for i in range(length):
            kept = math.prod(1 - gates[b, r, 0] * reads[b, r, i] for r in range(heads))
            assert psi[b, i] == pytest.approx(kept)
            assert usage[b, i] == pytest.approx((before[b, i] + writes[b, i] - before[b, i] * writes[b, i]) * kept)
        np.testing.assert_allclose(free[b], naive_allocation(usage[b]), atol=1e-12)
        assert free[b].sum() <= 1 + 1e-12


def test_the_freest_location_is_allocated_and_a_full_memory_has_none():
    free = allocation.allocation_weighting(torch.tensor([[0.9, 0.0, 0.5], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    assert free[0].argmax() == 1
    assert free[0, 1] > 0.99999
    assert free[1].sum() < 1e-5
    assert free[2].argmax() == 0  # of equals the first


def test_rounding_does_not_choose_among_locations_that_nothing_has_touched():
    usage = torch.full((1, 6), 0.25) + 1e-8 * torch.randn(1, 6)
    assert allocation.allocation_weighting(usage).argsort(descending=True).tolist() == [list(range(6))]


@quick
@given(seeds, sizes)
def test_writing_and_linkage_are_the_formulas(seed, size):
    rng, (batch, heads, length) = np.random.default_rng(seed), size
    free, content, writes = (partial(rng, batch, length) for _ in range(3))
    g_a, g_w = rng.uniform(size=(2, batch, 1))
    writing = call(allocation.write_weighting, free, content, g_a, g_w)
    np.testing.assert_allclose(writing, g_w * (g_a * free + (1 - g_a) * content), atol=1e-12)
    links, precedence = partial(rng, batch, length, length) / length, partial(rng, batch, length)
    after = call(linkage.link_matrix, links, writes, precedence)
    last = call(linkage.precedence_weighting, precedence, writes)
    reads, by_content = partial(rng, batch, heads, length), partial(rng, batch, heads, length)
    on, back = call(linkage.forward_weighting, after, reads), call(linkage.backward_weighting, after, reads)
    modes = rng.dirichlet(np.ones(3), size=(batch, heads))
    mixed = call(linkage.read_weighting, back, by_content, on, modes)
    for b in range(batch):
        for i in range(length):
            for j in range(length):
                w = writes[b]
                wanted = (1 - w[i] - w[j]) * links[b, i, j] + w[i] * precedence[b, j] if i != j else 0
                assert after[b, i, j] == pytest.approx(wanted, abs=1e-12)
            assert last[b, i] == pytest.approx((1 - writes[b].sum()) * precedence[b, i] + writes[b, i])
            for r in range(heads):
                forward = sum(after[b, i, j] * reads[b, r, j] for j in range(length))
                backward = sum(after[b, j, i] * reads[b, r, j] for j in range(length))
                assert on[b, r, i] == pytest.approx(forward, abs=1e-12)
                assert back[b, r, i] == pytest.approx(backward, abs=1e-12)
                m = modes[b, r]
                assert mixed[b, r, i] == pytest.approx(m[0] * backward + m[1] * by_content[b, r, i] + m[2] * forward)


def make(**keys) -> DNC:
    torch.manual_seed(0)
    return DNC(
        DNC.Config(**{"hidden": 8, "locations": 6, "width": 4, "read_heads": 2, **keys}), Spec("stream", (5,), 3, 3, 9)
    ).double()


def test_long_random_runs_stay_in_their_bounds():
    model, g = make(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)  # gates that open and close
        steps, _ = model.unroll(model.initial_state(3), 3 * torch.randn(3, 60, 8, generator=g).double())
    for step in steps:
        s = step.state.access
        for weights in (s.read_weights, s.write_weights, s.precedence[:, None], step.parameters.allocation):
            assert (weights >= 0).all()
            assert (weights.sum(-1) <= 1 + 1e-9).all()
        assert ((s.usage >= 0) & (s.usage <= 1)).all()
        assert (s.links >= -1e-12).all()
        assert (s.links.sum(1) <= 1 + 1e-9).all()
        assert (s.links.sum(2) <= 1 + 1e-9).all()
        assert not s.links.diagonal(dim1=1, dim2=2).any()
        torch.testing.assert_close(step.parameters.read_modes.sum(-1), torch.ones(3, 2).double())


def naive_step(state, p) -> dict[str, np.ndarray]:
    """One step of one task, from the emitted parameters, in the order of the paper."""
    s = {k: v[0].detach().numpy() for k, v in state._asdict().items()}
    e = {k: v[0].detach().numpy() for k, v in p._asdict().items()}

    def content(memory: np.ndarray, key: np.ndarray, strength: float) -> np.ndarray:
        cosine = memory @ key / np.sqrt((np.square(memory).sum(1) + 1e-6) * (np.square(key).sum() + 1e-6))
        w = np.exp(strength * cosine)
        return w / w.sum()

    heads = range(len(s["read_weights"]))
    psi = np.prod([1 - e["free_gate"][r] * s["read_weights"][r] for r in heads], 0)
    w = s["write_weights"][0]
    usage = (s["usage"] + w - s["usage"] * w) * psi
    c = content(s["memory"], e["write_key"][0], e["write_strength"][0, 0])
    g_a, g_w = e["allocation_gate"][0, 0], e["write_gate"][0, 0]
    w = g_w * (g_a * naive_allocation(usage) + (1 - g_a) * c)
    memory = s["memory"] * (1 - np.outer(w, e["erase"][0])) + np.outer(w, e["write_vector"][0])
    links = (1 - w[:, None] - w[None]) * s["links"] + np.outer(w, s["precedence"])
    np.fill_diagonal(links, 0)
    reading = []
    for r in heads:
        before = s["read_weights"][r]
        by_content = content(memory, e["read_key"][r], e["read_strength"][r, 0])
        pi = e["read_modes"][r]
        reading.append(pi[0] * links.T @ before + pi[1] * by_content + pi[2] * links @ before)
    return {
        "memory": memory,
        "reads": np.array(reading) @ memory,
        "read_weights": np.array(reading),
        "write_weights": w[None],
        "usage": usage,
        "precedence": (1 - w.sum()) * s["precedence"] + w,
        "links": links,
    }


def test_a_run_of_steps_equals_the_paper_step_by_step():
    model, g = make(), torch.Generator().manual_seed(2)
    state = model.initial_state(1)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
        for _ in range(12):
            step = model.step(state, torch.randn(1, 8, generator=g).double())
            for name, wanted in naive_step(state.access, step.parameters).items():
                np.testing.assert_allclose(getattr(step.state.access, name)[0], wanted, atol=1e-9, err_msg=name)
            state = step.state


def test_gradients_are_those_of_differences():
    rng = np.random.default_rng(0)
    usage = torch.tensor([[0.1, 0.9, 0.45, 0.7]], dtype=torch.float64, requires_grad=True)  # no ties
    assert torch.autograd.gradcheck(allocation.allocation_weighting, (usage,))
    links, w, p = (torch.from_numpy(partial(rng, *s)).requires_grad_() for s in ((2, 4, 4), (2, 4), (2, 4)))
    assert torch.autograd.gradcheck(linkage.link_matrix, (links, w, p))
    assert torch.autograd.gradcheck(linkage.precedence_weighting, (p, w))
    gates, reads = (torch.from_numpy(partial(rng, 2, 3, n)).requires_grad_() for n in (1, 4))
    assert torch.autograd.gradcheck(allocation.retention_vector, (gates, reads))


@pytest.mark.parametrize("usage", [0.0, 1.0])
def test_gradients_are_finite_where_all_is_free_or_full(usage):
    u = torch.full((1, 5), usage, dtype=torch.float64, requires_grad=True)
    allocation.allocation_weighting(u)[0, 2].backward()
    assert u.grad is not None
    assert u.grad.isfinite().all()


def test_a_sequence_is_read_in_the_order_it_was_written():
    """Written to three locations in turn, then read forward from the first: the links lead on."""
    links, precedence = torch.zeros(1, 4, 4), torch.zeros(1, 4)
    for location in (2, 0, 3):
        w = torch.eye(4)[location][None]
        links, precedence = linkage.link_matrix(links, w, precedence), linkage.precedence_weighting(precedence, w)
    reading = torch.eye(4)[2][None, None]
    for location in (0, 3):
        reading = linkage.forward_weighting(links, reading)
        assert reading[0, 0].argmax() == location
    assert linkage.backward_weighting(links, reading)[0, 0].argmax() == 0


def test_an_init_for_previous_labels_writes_an_item_beside_its_label_and_looks_for_the_one_at_hand():
    """The key of an item is near what is written one step after it, and near nothing else."""
    torch.manual_seed(0)
    keys = {"hidden": 64, "width": 24, "locations": 12, "read_heads": 2, "init": "previous-label"}
    model = DNC(DNC.Config(**keys), Spec("stream", (16,), 3, 3, 8))
    x, y = torch.randn(1, 8, 16), torch.eye(3)[torch.randint(3, (1, 8))]
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(x, y))
    looked_for = torch.stack([step.parameters.read_key[0] for step in steps])  # (T, R, W)
    written = torch.stack([step.parameters.write_vector[0, 0] for step in steps])  # (T, W)
    alike = torch.cosine_similarity(looked_for[:, :, None], written[None, None], -1)  # (T, R, T)
    for t in range(7):
        assert (alike[t].argmax(-1) == t + 1).all()
        assert alike[t, :, t + 1].min() > 0.6
    for step in steps:
        assert step.state.access.write_weights.max() > 0.8
        assert step.state.access.read_weights.sum(-1).min() > 0.8
    assert len({int(step.state.access.write_weights.argmax()) for step in steps}) == 8  # each to a free location
    other, _ = model.unroll(model.initial_state(1), model.encode_items(x, y.roll(1, -1)))
    relabelled = torch.stack([step.parameters.write_vector[0, 0] for step in other])
    assert ((relabelled - written).abs().amax(-1) > 1e-4).all()


def test_an_init_by_content_writes_each_step_to_a_free_location_and_looks_for_one_like_it():
    torch.manual_seed(0)
    keys = {"hidden": 32, "width": 12, "locations": 12, "read_heads": 2, "controller": "feedforward", "init": "content"}
    model = DNC(DNC.Config(**keys), Spec("k-shot", (16,), 3, 3, 8))
    x, y = torch.randn(1, 8, 16), torch.eye(3)[torch.randint(3, (1, 8))]
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(x, y))
    for step in steps:
        written = step.parameters.write_vector[0].expand(2, -1)
        torch.testing.assert_close(step.parameters.read_key[0], written)
        assert step.state.access.write_weights.max() > 0.8
    assert len({int(step.state.access.write_weights.argmax()) for step in steps}) == 8


@pytest.mark.parametrize("keys", [{"controller": "feedforward"}, {"layers": 2}])
def test_an_init_for_previous_labels_needs_one_layer_of_lstm(keys):
    with pytest.raises(ValidationError, match="init: previous-label needs a controller of one LSTM layer"):
        DNC.Config(init="previous-label", **keys)
