"""The fast scan against the plain one: values and gradients, masks and states as met in the middle of a sequence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metacli.episode import Spec
from metacli.errors import UsageError
from metacli.models.lstm import LSTM
from metacli.models.memory import allocation, dnc
from metacli.models.memory.core import MemoryNetwork
from metacli.models.memory.dnc import DNC
from metacli.models.memory.mann import MANN
from metacli.models.memory.ntm import NTM
from metacli.models.recurrent import tree_map
from metacli.registry import MODELS, resolve

pytest.importorskip("numba")
from metacli.models.memory.fast import allocation as fast_allocation
from metacli.models.memory.fast.tape import Tape

CPU = torch.device("cpu")
SIZES = {"hidden": 6, "locations": 7, "width": 3, "read_heads": 2}
OWN = {"least_used": "own", "erase": "all"}
KEYS = {
    NTM: [{}, {"write_heads": 3, "shift_range": 2}, {"shift_range": 0}, {"init": "content"}],
    MANN: [
        {},
        {**OWN, "learn_strength": True, "strength": 4.0},
        {**OWN, "write_vector": "key", "order": "read-first", "usage_decay": 0.9},
        {"write_vector": "key"},
        {"erase": "all", "order": "read-first", "read_heads": 3, "learn_strength": True},
        {"least_used": "own"},
        {**OWN, "init": "content", "locations": 2},
    ],
    DNC: [{}, {"read_heads": 1}, {"read_heads": 3, "init": "content"}, {"init": "previous-label"}],
}
CASES = [
    pytest.param(cls, {"controller": kind, "layers": layers, **keys}, id=f"{cls.__name__}-{kind}-{layers}-{n}")
    for cls, kind, layers in itertools.product(KEYS, ("lstm", "feedforward"), (1, 2))
    for n, keys in enumerate(KEYS[cls])
    if keys.get("init") != "previous-label" or (kind, layers) == ("lstm", 1)
]


def make(cls, **keys):
    torch.manual_seed(0)
    return cls(cls.Config(**{**SIZES, **keys}), Spec("sequence", (4,), 0, 3, 40)).double()


def flat(tree) -> list[torch.Tensor]:
    return [tree] if isinstance(tree, torch.Tensor) else [leaf for branch in tree for leaf in flat(branch)]


def weighed(tensors) -> torch.Tensor:
    """A number that depends on every element of each tensor in a way of its own."""
    parts = [(t * torch.linspace(-1, 0.5 + i, t.numel()).view_as(t)).sum() for i, t in enumerate(tensors)]
    return torch.stack(parts).sum()


def run(model, kind, state, x, mask, through=slice(None)):
    """Outputs and last state of a scan, and the gradients of x, the first state and all parameters."""
    model.use_scan(kind, CPU)
    leaves = [leaf for leaf in flat(state) if leaf.requires_grad]
    outputs, last = model.scan(state, x, mask)
    differentiable = [t for t in flat(last) if not (isinstance(model, MANN) and t is last.access.usage)]
    loss = weighed([outputs, *differentiable][through])
    names = ["x", *(f"state {i}" for i in range(len(leaves))), *dict(model.named_parameters())]
    found = torch.autograd.grad(loss, [x, *leaves, *model.parameters()], allow_unused=True)
    return [outputs, *flat(last)], dict(zip(names, found, strict=True))


def inputs(model, batch=3, steps=6):
    state = tree_map(torch.rand_like, model.initial_state(batch))
    if isinstance(model, DNC):
        state = state._replace(access=in_range(state.access))
    state = tree_map(lambda s: s.requires_grad_(), state)
    if isinstance(model, MANN):
        state.access.usage.requires_grad_(False)
    return state, torch.randn(batch, steps, 4, dtype=torch.float64, requires_grad=True)


def in_range(state: dnc.State) -> dnc.State:
    """Random numbers from 0 to 1, scaled so that weightings, and rows and columns of links, sum to 1 at most."""
    locations = state.links.shape[1]
    return state._replace(
        read_weights=state.read_weights / locations,
        write_weights=state.write_weights / locations,
        precedence=state.precedence / locations,
        links=state.links / locations * (1 - torch.eye(locations)),
    )


def used(model) -> list[torch.Tensor]:
    """The parameters that a scan uses: all but the output layer's."""
    return [p for name, p in model.named_parameters() if not name.startswith("output")]


def same(one, two):
    (values, gradients), (others, other_gradients) = one, two
    for a, b in zip(values, others, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    for name, a in gradients.items():
        b = other_gradients[name]
        zero = torch.zeros_like(a if a is not None else b) if a is not None or b is not None else None
        torch.testing.assert_close(zero if a is None else a, zero if b is None else b, rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize(("cls", "keys"), CASES)
@pytest.mark.parametrize("masked", [False, True])
def test_the_fast_scan_is_the_plain_one(cls, keys, masked):
    model = make(cls, **keys)
    state, x = inputs(model)
    mask = torch.arange(6) < torch.tensor([[6], [0], [4]]) if masked else None
    same(run(model, "plain", state, x, mask), run(model, "fast", state, x, mask))


def test_the_dnc_orders_equal_usages_as_the_plain_scan_does():
    generator = torch.Generator().manual_seed(0)
    usage = torch.randint(0, 4, (20, 30), generator=generator) / 4.0
    usage = (usage + 4e-5 * torch.rand(usage.shape, generator=generator)).clamp(max=1)  # less than the resolution
    expected = allocation.allocation_weighting(usage.double()).numpy()
    for row, plain in zip(usage.double().numpy(), expected, strict=True):
        order, fast = np.empty(30, np.int64), np.empty(30)
        fast_allocation.allocation_weighting(row, order, fast)
        np.testing.assert_allclose(fast, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cls", KEYS)
@pytest.mark.parametrize("through", [slice(0, 1), slice(1, None)])
def test_gradients_of_the_outputs_alone_or_of_the_last_state_alone(cls, through):
    model = make(cls)
    state, x = inputs(model)
    same(run(model, "plain", state, x, None, through), run(model, "fast", state, x, None, through))


@pytest.mark.parametrize("cls", KEYS)
@pytest.mark.parametrize("mode", ["independent", "sequence", "stream"])
def test_a_whole_model_in_every_way_of_being_asked(cls, mode):
    spec = Spec(mode, (4,), 3, 3, 12)
    torch.manual_seed(0)
    model = cls(cls.Config(**SIZES), spec).double()
    seen = 0 if mode == "stream" else 4
    x, y = torch.randn(2, seen, 4).double(), torch.eye(3).double()[torch.randint(3, (2, seen))]
    test, late = torch.randn(2, 5, 4).double(), torch.eye(3).double()[torch.randint(3, (2, 5))]
    found = {}
    for kind in ("plain", "fast"):
        model.use_scan(kind, CPU)
        logits = model.predict(model.adapt(x, y), test, late if mode == "stream" else None)
        found[kind] = [logits, *torch.autograd.grad(weighed([logits]), model.parameters())]
        with torch.no_grad():  # nothing is kept for a way back
            again = model.predict(model.adapt(x, y), test, late if mode == "stream" else None)
        torch.testing.assert_close(again, logits, rtol=0, atol=0)
    for plain, fast in zip(*found.values(), strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-9)


def test_every_registered_model_with_a_fast_scan_is_among_the_cases():
    classes = [resolve(MODELS, name, "model") for name in MODELS]
    assert {c for c in classes if issubclass(c, MemoryNetwork) and c.Access.scan} == set(KEYS)


def test_nothing_is_kept_for_a_way_back_that_does_not_come(monkeypatch):
    model = make(NTM)
    state, x = inputs(model)
    model.use_scan("fast", CPU)
    kept = []
    monkeypatch.setattr("metacli.models.memory.fast.ntm.Tape", lambda *a: kept.append(a[2]) or Tape(*a))
    model.scan(state, x)
    with torch.no_grad():
        model.scan(state, x)
    assert kept == [True, False]


@pytest.mark.parametrize("cls", KEYS)
def test_float32_stays_near(cls):
    """Sizes as in a recipe, so that loops over whole vector registers run as well."""
    torch.manual_seed(0)
    model = cls(cls.Config(hidden=32, locations=128, width=20), Spec("sequence", (4,), 0, 3, 40))
    state = model.initial_state(4)
    x = torch.randn(4, 20, 4, requires_grad=True)
    found = {}
    for kind in ("plain", "fast"):
        model.use_scan(kind, CPU)
        outputs, last = model.scan(state, x)
        found[kind] = [outputs, last.access.memory, *torch.autograd.grad(outputs.square().sum(), used(model))]
    for plain, fast in zip(*found.values(), strict=True):
        torch.testing.assert_close(fast, plain, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("cls", KEYS)
def test_no_nan_is_hidden_and_none_made(cls):
    model = make(cls).float()
    model.use_scan("fast", CPU)
    for scale, finite in ((0.0, True), (1e4, True), (float("nan"), False)):
        x = torch.full((2, 5, 4), scale, requires_grad=True)
        outputs, _ = model.scan(model.initial_state(2), x)
        gradients = torch.autograd.grad(outputs.sum(), used(model))
        assert outputs.isfinite().all() == finite
        assert all(g.isfinite().all() for g in gradients) == finite


def test_which_scan_and_why():
    model = make(NTM)
    assert model.use_scan("auto", CPU).startswith("fast")
    assert model.use_scan("plain", CPU) == "plain: as requested"
    assert "not for cuda" in model.use_scan("auto", torch.device("cuda"))
    with pytest.raises(UsageError, match="not for cuda"):
        model.use_scan("fast", torch.device("cuda"))
    lstm = LSTM(LSTM.Config(hidden=4), Spec("sequence", (4,), 0, 3, 40))
    assert lstm.use_scan("auto", CPU) is None
    with pytest.raises(UsageError, match="lstm has only one implementation"):
        lstm.use_scan("fast", CPU)


def test_without_numba_the_plain_scan_serves(monkeypatch):
    monkeypatch.setattr("metacli.compute.jit._missing", lambda: "not installed")
    model = make(NTM)
    assert "pip install 'metacli[fast]'" in model.use_scan("auto", CPU)
    assert not model.uses_fast_scan
    with pytest.raises(UsageError, match="numba cannot be used"):
        model.use_scan("fast", CPU)
