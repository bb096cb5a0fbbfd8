"""MANN: each equation against a naive loop, the memory step as a whole, and a network set by hand that must bind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.autograd import gradcheck

from metacli.episode import Spec
from metacli.models.memory import lrua
from metacli.models.memory.mann import MANN

SMALL = {"hidden": 7, "locations": 6, "width": 5, "read_heads": 2}
PAPER = {"write_vector": "key"}  # the letter of the paper; the other defaults follow it
OWN = {"least_used": "own", "erase": "all"}
DEVIATIONS = [{**OWN, **PAPER}, {**OWN, "learn_strength": True, "strength": 10.0}]
READINGS = [{}, *DEVIATIONS, PAPER, {**OWN, "erase": "one"}]


def weighting(rng, *shape):
    weights = rng.random(shape) + 1e-3
    return weights / weights.sum(-1, keepdims=True)


sizes = st.tuples(
    st.integers(1, 3), st.integers(1, 4), st.integers(4, 9), st.integers(1, 5), st.integers(0, 2**32 - 1)
)  # B, R, L, W, seed; R <= L
check = settings(max_examples=30, deadline=None)


@check
@given(sizes, st.floats(0, 1))
def test_usage_decays_and_adds_every_read_and_write(size, decay):
    tasks, heads, locations, _, seed = size
    rng = np.random.default_rng(seed)
    before = rng.random((tasks, locations)) * 3
    reads, writes = weighting(rng, tasks, heads, locations), weighting(rng, tasks, heads, locations)
    expected = np.zeros_like(before)
    for b in range(tasks):
        for i in range(locations):
            expected[b, i] = decay * before[b, i]
            for r in range(heads):
                expected[b, i] += reads[b, r, i] + writes[b, r, i]
    got = lrua.update_usage(*map(torch.from_numpy, (before, reads, writes)), decay)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


@check
@given(sizes, st.integers(1, 9))
def test_least_used_is_one_location_per_head_in_order_of_usage_then_of_number(size, values):
    tasks, heads, locations, _, seed = size
    used = np.random.default_rng(seed).integers(0, values, (tasks, locations)).astype(float)  # few values: many ties
    got = lrua.rank_least_used(torch.from_numpy(used), heads).numpy()
    for b in range(tasks):
        order = sorted(range(locations), key=lambda i: (used[b, i], i))
        for r in range(heads):
            assert got[b, r].tolist() == [float(i == order[r]) for i in range(locations)]
        chosen = got[b].sum(0)
        assert chosen.max() == 1
        assert chosen.sum() == heads
        assert used[b][chosen == 1].max() <= used[b][chosen == 0].min(initial=np.inf)


@check
@given(sizes)
def test_shared_least_used_locations_are_those_whose_usage_is_at_most_the_nth_smallest(size):
    """Equation 6 by the letter, where no two locations are used alike."""
    tasks, heads, locations, _, seed = size
    used = np.random.default_rng(seed).random((tasks, locations))
    got = lrua.share_least_used(lrua.rank_least_used(torch.from_numpy(used), heads)).numpy()
    for b in range(tasks):
        nth_smallest = sorted(used[b])[heads - 1]  # m(w^u, n)
        for r in range(heads):
            assert got[b, r].tolist() == [float(used[b, i] <= nth_smallest) for i in range(locations)]


@check
@given(sizes)
def test_write_weights_mix_the_last_read_and_the_least_used(size):
    tasks, heads, locations, _, seed = size
    rng = np.random.default_rng(seed)
    gate, reads = rng.random((tasks, heads, 1)), weighting(rng, tasks, heads, locations)
    least = lrua.rank_least_used(torch.from_numpy(rng.random((tasks, locations))), heads).numpy()
    expected = np.zeros_like(reads)
    for b in range(tasks):
        for r in range(heads):
            for i in range(locations):
                expected[b, r, i] = gate[b, r, 0] * reads[b, r, i] + (1 - gate[b, r, 0]) * least[b, r, i]
    got = lrua.write_weighting(*map(torch.from_numpy, (gate, reads, least))).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(got.sum(-1), 1)
    assert got.min() >= 0


@check
@given(sizes)
def test_erased_locations_are_zero_and_the_others_untouched(size):
    tasks, heads, locations, width, seed = size
    rng = np.random.default_rng(seed)
    memory = rng.normal(size=(tasks, locations, width))
    least = lrua.rank_least_used(torch.from_numpy(rng.random((tasks, locations))), heads)
    got = lrua.erase_locations(torch.from_numpy(memory), least.sum(1)).numpy()
    for b in range(tasks):
        for i in range(locations):
            assert (got[b, i] == (0 if least[b, :, i].any() else memory[b, i])).all()


def test_gradients_of_the_equations():
    torch.manual_seed(0)

    def leaf(*shape):
        return torch.rand(*shape, dtype=torch.float64, requires_grad=True)

    least = lrua.rank_least_used(torch.rand(2, 5, dtype=torch.float64), 3)
    assert gradcheck(lambda g, w: lrua.write_weighting(g, w, least), (leaf(2, 3, 1), leaf(2, 3, 5)))
    assert gradcheck(
        lambda g, w: lrua.write_weighting(g, w, lrua.share_least_used(least)), (leaf(2, 3, 1), leaf(2, 3, 5))
    )
    assert gradcheck(lambda m: lrua.erase_locations(m, least.sum(1)), (leaf(2, 5, 4),))
    weights = leaf(2, 3, 5)
    assert not lrua.update_usage(leaf(2, 5), weights, weights, 0.99).requires_grad
    assert not lrua.rank_least_used(leaf(2, 5), 3).requires_grad


def make(**keys):
    torch.manual_seed(0)
    return MANN(MANN.Config(**(SMALL | keys)), Spec("independent", (4,), 3, 3, 10))


def naive_step(model, state, parameters):
    """The state after a step, but for the controller, by loops over the one task; the paper's equations 2 to 8."""
    c = model.config
    key, gate, beta, vector = (
        v[0].numpy() for v in (parameters.key, parameters.gate, parameters.strength, parameters.write_vector)
    )
    memory, last, used = (v[0].numpy().copy() for v in (state.memory, state.read_weights, state.usage))
    order = sorted(range(c.locations), key=lambda i: (used[i], i))[: c.read_heads]
    writes = np.zeros_like(last)
    for location in order if c.erase == "all" else order[:1]:
        memory[location] = 0
    for r in range(c.read_heads):
        writes[r] = gate[r] * last[r]
        for location in order if c.least_used == "shared" else [order[r]]:
            writes[r, location] += 1 - gate[r, 0]
    for r in range(c.read_heads):
        for i in range(c.locations):
            memory[i] += writes[r, i] * vector[r]
    weights = np.zeros_like(last)
    for r in range(c.read_heads):
        for i in range(c.locations):
            norms = np.linalg.norm(key[r]) * np.linalg.norm(memory[i])
            weights[r, i] = np.exp(beta[r, 0] * (key[r] @ memory[i] / norms if norms > 0 else 0))
        weights[r] /= weights[r].sum()
    return memory, weights @ memory, weights, writes, c.usage_decay * used + weights.sum(0) + writes.sum(0)


@pytest.mark.parametrize("keys", READINGS)
def test_a_step_is_erase_write_read_by_the_equations(keys):
    model = make(**keys).double()
    with torch.no_grad():
        model.heads.weight.mul_(20)  # rows far longer than the floor under the cosine's norms
        state = model.initial_state(1)
        memory = torch.randn(1, 6, 5, dtype=torch.float64)
        state = state._replace(access=state.access._replace(memory=memory))
        for _ in range(8):
            step = model.step(state, torch.randn(1, model.input_size, dtype=torch.float64))
            expected = naive_step(model, state.access, step.parameters)
            state = step.state
            for got, want in zip(state.access, expected, strict=True):
                np.testing.assert_allclose(got[0].numpy(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keys", [*DEVIATIONS, {**OWN, "controller": "feedforward", "layers": 2}])
def test_weightings_sum_to_one_and_signals_keep_their_ranges(keys):
    model = make(**keys)
    steps, _ = model.unroll(model.initial_state(3), 5 * torch.randn(3, 20, model.input_size))
    for step in steps:
        for weights in (step.state.access.read_weights, step.state.access.write_weights):
            torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2))
            assert weights.min() >= 0
        assert step.state.access.usage.min() >= 0
        assert ((step.parameters.gate >= 0) & (step.parameters.gate <= 1)).all()
        assert (step.parameters.strength > 0).all()
        assert (step.parameters.least_used.sum((1, 2)) == 2).all()


@pytest.mark.parametrize("strength", [0.5, 1.0, 10.0, 100.0])
def test_a_learnt_strength_starts_at_the_configured_one(strength):
    model = make(learn_strength=True, strength=strength)
    with torch.no_grad():
        model.heads.weight.zero_()
        parameters = model.step(model.initial_state(1), torch.zeros(1, model.input_size)).parameters
    torch.testing.assert_close(parameters.strength, torch.full((1, 2, 1), strength))


@pytest.mark.parametrize("keys", READINGS)
def test_all_zero_memory_and_inputs_give_no_nan_in_value_or_gradient(keys):
    model = make(**keys)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    state = model.initial_state(2)
    memory = torch.zeros_like(state.access.memory).requires_grad_()
    state = state._replace(access=state.access._replace(memory=memory))
    steps, (last, _) = model.unroll(state, torch.zeros(2, 4, model.input_size))
    loss = sum(model.output(s.output).square().sum() for s in steps) + last.memory.sum() + last.read_weights.sum()
    gradients = torch.autograd.grad(loss, [memory, *model.parameters()], allow_unused=True)
    assert all(t.isfinite().all() for t in last)
    assert all(g.isfinite().all() for g in gradients if g is not None)


@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
@pytest.mark.parametrize("keys", READINGS)
def test_a_gradient_reaches_every_parameter(controller, keys):
    model = make(controller=controller, **keys)
    x, y = torch.randn(2, 5, 4), torch.eye(3)[torch.randint(3, (2, 5))]
    model.predict(model.adapt(x, y), torch.randn(2, 3, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_memory_carries_the_gradient_where_the_controller_cannot():
    model = make(controller="feedforward")
    x = torch.randn(1, 5, 4, requires_grad=True)
    phi = model.adapt(x, torch.eye(3)[torch.randint(3, (1, 5))])
    model.predict(phi, torch.randn(1, 1, 4)).sum().backward()
    assert (x.grad.abs().sum(2) > 0).all()


def test_fewer_locations_than_heads_is_an_error():
    with pytest.raises(ValidationError, match="locations 3 is below read_heads 4"):
        MANN.Config(locations=3, read_heads=4)
    MANN.Config(locations=4, read_heads=4)


BITS, LABELS = 16, 5


def by_hand(locations, write_vector):
    """A MANN that binds, set by hand: the controller hands on its input, the head writes it, the output reads a label.

    The controller is tanh of a small multiple of [x, y]; a row of memory is that again; its last LABELS numbers are
    the logits. The gate is shut, so that each step fills the least used location.
    """
    width = BITS + LABELS
    keys = {"hidden": width, "width": width, "read_heads": 1, "locations": locations, "strength": 50.0}
    config = MANN.Config(controller="feedforward", write_vector=write_vector, **keys)
    model = MANN(config, Spec("independent", (BITS,), LABELS, LABELS, 20))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.controller.layers[0].weight[:, :width] = 0.1 * torch.eye(width)
        model.heads.bias[width] = -30.0  # alpha
        if write_vector == "key":
            model.heads.weight[:width] = torch.eye(width)
        else:
            model.heads.weight[:BITS, :BITS] = torch.eye(BITS)  # the key: x alone
            model.heads.weight[width + 1 :] = torch.eye(width)  # the row: x and y
        model.output.weight[:, -LABELS:] = 100 * torch.eye(LABELS)
    return model.eval()


def pairs(tasks, items):
    """Random signs and random labels: x (B, S, BITS), y (B, S) int64."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randint(0, 2, (tasks, items, BITS), generator=generator).float() * 2 - 1
    return x, torch.randint(0, LABELS, (tasks, items), generator=generator)


@pytest.mark.parametrize("write_vector", ["key", "separate"])
def test_set_by_hand_it_recalls_every_pair_it_was_shown(write_vector):
    model, (x, y) = by_hand(12, write_vector), pairs(40, 10)
    with torch.no_grad():
        logits = model.predict(model.adapt(x, torch.eye(LABELS)[y]), x.flip(1)).flip(1)
    assert (logits.argmax(-1) == y).all()


def test_set_by_hand_it_knows_nothing_without_d_train():
    model, (x, _) = by_hand(12, "key"), pairs(40, 10)
    with torch.no_grad():
        logits = model.predict(model.adapt(x[:, :0], torch.zeros(40, 0, LABELS)), x)
    assert logits.abs().max() < 1e-3


def test_set_by_hand_it_forgets_the_least_used_first():
    """Three locations, the last one for the question itself: of ten pairs shown once, the last two are known."""
    model, (x, y) = by_hand(3, "key"), pairs(40, 10)
    with torch.no_grad():
        logits = model.predict(model.adapt(x, torch.eye(LABELS)[y]), x)
    right = (logits.argmax(-1) == y).float().mean(0)
    assert (right[-2:] == 1).all()
    assert right[:-2].mean() < 0.5


def test_an_init_by_content_writes_to_fresh_locations_and_where_it_last_read():
    """Heads 0 and 1 are a pair, heads 2 and 3 another, head 4 has no partner."""
    spec = Spec("stream", (6,), 3, 3, 5)
    keys = {"hidden": 16, "locations": 12, "width": 8, "read_heads": 5}
    model = MANN(MANN.Config(init="content", **keys), spec)
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(torch.randn(1, 4, 6), torch.zeros(1, 4, 3)))
    for step in steps:
        gate, key, vector = step.parameters.gate[0], step.parameters.key[0], step.parameters.write_vector[0]
        assert (gate[[0, 2, 4]] < 0.2).all()
        assert (gate[[1, 3]] > 0.8).all()
        torch.testing.assert_close(key[[1, 3]], vector[[0, 2]])  # the second looks for what the first writes
        torch.testing.assert_close(key[4], vector[4])
        mark = key[[0, 2]] - vector[[0, 2]]  # the first looks for a mark besides
        torch.testing.assert_close(mark.abs(), torch.full_like(mark, 0.11))
        assert mark.sum(-1).abs().max() < 1e-6  # orthogonal to a memory that is constant


def test_an_init_by_content_needs_no_vector_of_its_own_to_write():
    spec = Spec("stream", (6,), 3, 3, 5)
    keys = {"hidden": 16, "locations": 12, "width": 8, "read_heads": 2, "init": "content", "write_vector": "key"}
    torch.manual_seed(0)
    model = MANN(MANN.Config(**keys), spec)
    torch.manual_seed(0)
    neutral = MANN(MANN.Config(**{**keys, "init": "random"}), spec)
    changed = [name for name, value in model.state_dict().items() if not value.equal(neutral.state_dict()[name])]
    assert changed == ["heads.bias"]  # of which the gates alone
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(torch.randn(1, 1, 6), None))
    assert steps[0].parameters.gate[0, 0] < 0.2 < 0.8 < steps[0].parameters.gate[0, 1]


def test_reading_first_does_not_see_what_the_step_writes():
    spec = Spec("stream", (6,), 3, 3, 5)
    reads = {}
    for order in ("write-first", "read-first"):
        torch.manual_seed(0)
        model = MANN(MANN.Config(order=order, hidden=16, locations=12, width=8, read_heads=2), spec)
        with torch.no_grad():
            step = model.step(model.initial_state(1), model.encode_items(torch.randn(1, 1, 6), None)[:, 0])
        reads[order] = step.state.access.reads
        assert step.state.access.memory.abs().max() > 1e-3  # something was written
    assert reads["read-first"].abs().max() < 1e-5  # the memory as it was at the start
    assert reads["write-first"].abs().max() > 1e-3
