"""The NTM: its wiring against the equations, a copy by hand-set heads, ranges, gradients, masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.func import functional_call

from metacli.episode import Mode, Spec
from metacli.models.memory.core import State
from metacli.models.memory.ntm import NTM
from metacli.models.recurrent import tree_map

SMALL = {"hidden": 6, "read_heads": 2, "write_heads": 2, "locations": 7, "width": 3, "shift_range": 2}
KINDS = ["lstm", "feedforward"]


def make(mode: Mode = "sequence", inputs: int = 4, **keys) -> NTM:
    torch.manual_seed(0)
    return NTM(NTM.Config(**{**SMALL, **keys}), Spec(mode, (inputs,), 0, 3, 40)).double()


def random_state(model: NTM, batch: int) -> State:
    """A state as met in the middle of a sequence: everything random, weightings proper."""
    access, controller = tree_map(torch.randn_like, model.initial_state(batch))
    weights = {"read_weights": access.read_weights.softmax(-1), "write_weights": access.write_weights.softmax(-1)}
    return State(access._replace(**weights), controller)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def unlabelled(x: torch.Tensor) -> torch.Tensor:
    return x.new_zeros(*x.shape[:2], 0)


def leaves(tree) -> list[torch.Tensor]:
    return [tree] if isinstance(tree, torch.Tensor) else [leaf for branch in tree for leaf in leaves(branch)]


def copier(bits: int, locations: int) -> NTM:
    """Heads set by hand to copy: the input is [bits, flag], the flag is 1 in D_train and 0 in D_test.

    The write head moves up by one at every step and adds the bits; the read head waits while the flag is up, then
    moves up by one at every step. No content is used: what it shows is shift, sharpen, write and read.
    """
    config = NTM.Config(
        controller="feedforward", hidden=bits + 1, locations=locations, width=bits, read_heads=1, write_heads=1
    )
    model = NTM(config, Spec("sequence", (bits + 1,), 0, bits, 2 * locations))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        weight, _ = model.controller.parameters()
        weight[:, : bits + 1] = 10 * torch.eye(bits + 1)
        _, positive, gate, shift, change = model.heads.bias.split(model.access.part_sizes)
        positive.fill_(20)  # beta, and gamma: sharp
        gate.fill_(-20)  # location alone
        shift.view(2, 3)[0] = torch.tensor([-20.0, -20.0, 20.0])  # reading: up by one
        shift.view(2, 3)[1] = torch.tensor([-20.0, -20.0, 20.0])  # writing: up by one
        change[:bits] = -20  # erase nothing
        _, _, _, shift_weight, change_weight = model.heads.weight.split(model.access.part_sizes)
        shift_weight.view(2, 3, -1)[0, :, bits] = torch.tensor([0.0, 40.0, -40.0])  # the flag: stay
        change_weight[bits:, :bits] = 20 * torch.eye(bits)  # add the bits
        weight, bias = model.output.parameters()
        weight[:, bits + 1 :] = 20 * torch.eye(bits)
        bias.fill_(-10)
    return model


@pytest.mark.parametrize("length", [1, 5, 15])
def test_hand_set_heads_copy(length):
    torch.manual_seed(length)
    bits = torch.randint(0, 2, (3, length, 4)).float()
    bits[0, 0] = 0  # an empty vector is no end of the sequence
    model = copier(4, 16)
    phi = model.adapt(torch.cat([bits, torch.ones(3, length, 1)], -1), unlabelled(bits))
    logits = model.predict(phi, torch.zeros(3, length, 5))
    assert torch.equal(logits > 0, bits > 0.5)
    assert logits.abs().min() > 9  # sure of every bit
    assert phi.access.write_weights.argmax(-1).eq(length).all()
    assert phi.access.read_weights.argmax(-1).eq(0).all()
    torch.testing.assert_close(phi.access.memory[:, 1 : length + 1], bits, atol=1e-5, rtol=0)


def test_hand_set_heads_copy_through_padding():
    torch.manual_seed(0)
    bits = torch.randint(0, 2, (2, 6, 4)).float()
    x = torch.cat([bits, torch.ones(2, 6, 1)], -1)
    mask = torch.arange(6) < torch.tensor([[6], [3]])
    model = copier(4, 16)
    logits = model.predict(model.adapt(x, unlabelled(x), mask), torch.zeros(2, 6, 5))
    assert torch.equal(logits[0] > 0, bits[0] > 0.5)
    assert torch.equal(logits[1, :3] > 0, bits[1, :3] > 0.5)
    assert (logits[1, 3:] < 0).all()  # nothing was written there


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_the_papers_equations(kind):
    """One step, head by head in NumPy, from what the controller's output says."""
    model = make(controller=kind, layers=2)
    state, x = random_state(model, 2), torch.randn(2, 4).double()
    with torch.no_grad():
        hidden, _ = model.controller(torch.cat([x, state.access.reads.flatten(1)], -1), state.controller)
        steering = model.heads(hidden)
        step = model.step(state, x)
    key, positive, gate, shift, change = (part.numpy() for part in steering.split(model.access.part_sizes, -1))
    before = torch.cat([state.access.read_weights, state.access.write_weights], 1).numpy()
    for b in range(2):
        memory, found = state.access.memory[b].numpy(), []
        for h in range(4):
            k = key[b, 3 * h : 3 * h + 3]
            beta, gamma = np.log1p(np.exp(positive[b, 2 * h])), 1 + np.log1p(np.exp(positive[b, 2 * h + 1]))
            s = np.exp(shift[b, 5 * h : 5 * h + 5])
            s, g = s / s.sum(), sigmoid(gate[b, h])
            content = np.exp(beta * memory @ k / np.linalg.norm(memory, axis=1) / np.linalg.norm(k))
            w = g * content / content.sum() + (1 - g) * before[b, h]
            moves = [(j, (j + o) % 7, s[o + 2]) for j in range(7) for o in range(-2, 3)]
            w = np.array([sum(w[j] * share for j, to, share in moves if to == i) for i in range(7)])
            found.append(w**gamma / (w**gamma).sum())
        written = memory.copy()
        for h in range(2):
            written *= 1 - np.outer(found[2 + h], sigmoid(change[b, 6 * h : 6 * h + 3]))
        for h in range(2):
            written += np.outer(found[2 + h], np.tanh(change[b, 6 * h + 3 : 6 * h + 6]))
        np.testing.assert_allclose(step.state.access.read_weights[b], found[:2], atol=1e-5)
        np.testing.assert_allclose(step.state.access.write_weights[b], found[2:], atol=1e-5)
        np.testing.assert_allclose(step.state.access.memory[b], written, atol=1e-5)
        np.testing.assert_allclose(step.state.access.reads[b], np.array(found[:2]) @ written, atol=1e-5)
        np.testing.assert_allclose(step.output[b, 6:], (np.array(found[:2]) @ written).ravel(), atol=1e-5)
    torch.testing.assert_close(step.output[:, :6], hidden)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_signals_keep_their_ranges(kind, scale):
    model = make(controller=kind)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    steps, _ = model.unroll(model.initial_state(3), torch.randn(3, 20, 4).double())
    for step in steps:
        s = step.parameters
        assert (s.strength > 0).all()
        assert (s.sharpness > 1).all()
        assert torch.stack([s.strength.max(), s.sharpness.max()]).le(21 + 1e-6).all()
        assert (s.gate > 0).all()
        assert (s.gate < 1).all()
        assert (s.erase > 0).all()
        assert (s.erase < 1).all()
        assert (s.add.abs() <= 1).all()
        for w in (s.shift, s.content, step.state.access.read_weights, step.state.access.write_weights):
            assert (w >= 0).all()
            torch.testing.assert_close(w.sum(-1), torch.ones_like(w.sum(-1)))


def test_start():
    state = make().initial_state(3)
    assert (state.access.memory == 1e-6).all()
    for w in (state.access.read_weights, state.access.write_weights):
        assert w[..., 0].eq(1).all()
        assert w.sum(-1).eq(1).all()
    assert all(leaf.shape[0] == 3 for leaf in leaves(state))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [0.0, 1e-6])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_no_nan_from_an_empty_memory(kind, fill, scale):
    model = make(controller=kind).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    access, controller = model.initial_state(2)
    empty = access._replace(memory=torch.full_like(access.memory, fill), reads=torch.zeros_like(access.reads))
    start = State(empty, controller)
    logits = model.predict(start, torch.randn(2, 15, 4))  # gamma^steps, a tie's true gradient, must stay a float
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_a_step_is_the_numerical_one(kind):
    model = make(inputs=2, controller=kind, hidden=3, read_heads=1, write_heads=1, locations=3, width=2, shift_range=1)
    state = random_state(model, 1)
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if not n.startswith("output")), strict=True)

    def step(x, memory, read_weights, write_weights, *values):
        class Stepper(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self):
                now = state.access._replace(memory=memory, read_weights=read_weights, write_weights=write_weights)
                return self.model.step(state._replace(access=now), x)

        named = {f"model.{n}": v for n, v in zip(names, values, strict=True)}
        out = functional_call(Stepper(), named, ())
        return out.output, out.state.access.memory, out.state.access.read_weights, out.state.access.write_weights

    x = torch.randn(1, 2).double()
    inputs = [
        t.detach().clone().requires_grad_()
        for t in (x, state.access.memory, state.access.read_weights, state.access.write_weights)
    ]
    assert torch.autograd.gradcheck(step, (*inputs, *parameters), fast_mode=False)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_parameter(kind):
    model = make(controller=kind, layers=2)
    x = torch.randn(2, 4, 4).double()
    model.predict(model.adapt(x, unlabelled(x)), x).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        rows = p.grad.flatten(1).abs().sum(1) if p.dim() > 1 else p.grad.abs()
        assert (rows > 0).all(), name  # every unit of every layer, not just some


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_row_equals_the_unpadded_run(kind):
    model = make(controller=kind)
    x = torch.randn(3, 5, 4).double()
    lengths = torch.tensor([5, 2, 3])
    phi = model.adapt(x, unlabelled(x), torch.arange(5) < lengths[:, None])
    for row, length in enumerate(lengths.tolist()):
        alone = x[row : row + 1, :length]
        for padded, single in zip(leaves(phi), leaves(model.adapt(alone, unlabelled(alone))), strict=True):
            torch.testing.assert_close(padded[row : row + 1], single)


def test_independent_queries_start_from_copies_of_phi():
    model = make("independent")
    x = torch.randn(2, 4, 4).double()
    phi = model.adapt(x, unlabelled(x))
    queries = torch.randn(2, 3, 4).double()
    logits = model.predict(phi, queries)
    for q in range(3):
        torch.testing.assert_close(logits[:, q], model.output(model.step(phi, queries[:, q]).output))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"locations": 4, "shift_range": 2}, "5 offsets"),
        ({"read_heads": 0}, "read_heads"),
        ({"controller": "gru"}, "controller"),
        ({"hidden": 2.0}, "hidden"),
    ],
)
def test_config_refuses(keys, words):
    with pytest.raises(ValidationError, match=words):
        NTM.Config(**keys)


def test_config_takes_a_ring_of_just_the_offsets():
    assert NTM.Config(locations=5, shift_range=2).locations == 5


@pytest.mark.parametrize("init", ["content", "content-then-next"])
@pytest.mark.parametrize("shift_range", [0, 1, 2])
def test_an_init_by_content_writes_in_order_and_adds_what_is_looked_for(shift_range, init):
    spec = Spec("stream", (6,), 3, 3, 5)
    keys = {"controller": "feedforward", "hidden": 16, "locations": 9, "width": 8, "write_heads": 2, "read_heads": 2}
    model = NTM(NTM.Config(init=init, shift_range=shift_range, **keys), spec)
    x, y = torch.randn(1, 4, 6), torch.eye(3)[torch.tensor([[0, 1, 2, 0]])]
    steps, _ = model.unroll(model.initial_state(1), model.encode_items(x, y))
    for t, step in enumerate(steps):
        written = step.state.access.write_weights[0]
        assert (written.argmax(-1) == (t + 1 if shift_range else 0)).all()
        torch.testing.assert_close(step.parameters.add[0], torch.tanh(step.parameters.key[0, :2]))
        assert (step.parameters.strength[0, :2] > 5).all()
        offset = step.parameters.shift[0, :2].argmax(-1) - shift_range
        assert (offset == (shift_range > 0 and init == "content-then-next")).all()
