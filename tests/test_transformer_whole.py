"""The Transformer as a whole: one task at a time against plain NumPy, what reaches what, and what a trace tells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metacli.episode import Episode, Spec
from metacli.models.layers.attention import causal_mask, rotate, smear_keys
from metacli.models.transformer import ROTARY_BASE, Block, Transformer

N, D = 3, 5


def make(mode: str = "independent", **keys) -> Transformer:
    torch.manual_seed(0)
    config = Transformer.Config(**{"width": 16, "layers": 3, "heads": 2, **keys})
    y_size = 0 if mode == "sequence" else N
    model = Transformer(config, Spec(mode, (D,), y_size, N, 12)).double().eval()
    for name, p in model.named_parameters():
        if name.endswith("smear"):
            torch.nn.init.normal_(p)  # another share for each head
    return model


def items(batch: int, count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, count, D, generator=g, dtype=torch.float64)
    return x, torch.eye(N, dtype=torch.float64)[torch.randint(N, (batch, count), generator=g)]


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def turned(vector: np.ndarray, position: int) -> np.ndarray:
    """Su et al. 2021, equation 15: each pair of numbers rotated by position * ROTARY_BASE^(-2 i / D)."""
    out = vector.copy()
    for i in range(0, len(vector), 2):
        angle = position * ROTARY_BASE ** (-i / len(vector))
        a, b = vector[i], vector[i + 1]
        out[i], out[i + 1] = a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)
    return out


def by_loops(model: Transformer, x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits (T, O) and weights (layers, heads, T, T) of one whole sequence x (T, D), y (T, Y), item by item."""
    w = {name: p.detach().numpy() for name, p in model.named_parameters()}
    h = np.concatenate([x.numpy(), y.numpy()], 1) @ w["embed.weight"].T + w["embed.bias"]
    steps, width, heads = len(h), model.config.width, model.config.heads
    part = width // heads
    weights = np.zeros((model.config.layers, heads, steps, steps))
    for layer in range(model.config.layers):
        p = {n.removeprefix(f"blocks.{layer}."): v for n, v in w.items() if n.startswith(f"blocks.{layer}.")}
        seen = norm(h, p["before_attention.weight"], p["before_attention.bias"])
        q, k, v = np.split(seen @ p["project.weight"].T + p["project.bias"], 3, 1)
        if "smear" in p:
            raw = k.copy()
            for t in range(steps):
                for head in range(heads):
                    own, share = slice(head * part, (head + 1) * part), 1 / (1 + math.exp(-p["smear"][head, 0, 0]))
                    k[t, own] = share * raw[t, own] + (1 - share) * (raw[t - 1, own] if t else 0)
        read = np.zeros_like(h)
        for head in range(heads):
            own = slice(head * part, (head + 1) * part)
            for t in range(steps):
                scores = []
                for s in range(t + 1):
                    a, b = q[t, own], k[s, own]
                    if model.config.positions == "rotary":
                        a, b = turned(a, t), turned(b, s)
                    scores.append(math.exp(float(a @ b) / math.sqrt(part)))
                for s in range(t + 1):
                    weights[layer, head, t, s] = scores[s] / sum(scores)
                    read[t, own] += weights[layer, head, t, s] * v[s, own]
        h = h + read @ p["merge.weight"].T + p["merge.bias"]
        inner = norm(h, p["before_network.weight"], p["before_network.bias"])
        inner = inner @ p["network.0.weight"].T + p["network.0.bias"]
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        h = h + inner @ p["network.2.weight"].T + p["network.2.bias"]
    logits = norm(h, w["norm.weight"], w["norm.bias"]) @ w["output.weight"].T + w["output.bias"]
    return logits, weights


@pytest.mark.parametrize("smear", [False, True])
@pytest.mark.parametrize("positions", ["rotary", "none"])
class TestAgainstLoops:
    @pytest.mark.parametrize("seen", [0, 1, 5])
    def test_each_question_from_phi_is_the_end_of_its_own_sequence(self, positions, smear, seen):
        model, (x, y), (asked, _) = make(positions=positions, smear_keys=smear), items(2, seen), items(2, 4, seed=2)
        logits = model.predict(model.adapt(x, y), asked).detach()
        for task in range(2):
            for q in range(4):
                line, labels = torch.cat([x[task], asked[task, q : q + 1]]), torch.cat([y[task], torch.zeros(1, N)])
                np.testing.assert_allclose(logits[task, q], by_loops(model, line, labels)[0][-1], atol=1e-11)

    def test_a_stream(self, positions, smear):
        model, (x, y) = make("stream", positions=positions, smear_keys=smear), items(2, 7)
        logits = model.predict(model.adapt(x[:, :0], y[:, :0]), x, y).detach()
        for task in range(2):
            np.testing.assert_allclose(logits[task], by_loops(model, x[task], y[task])[0], atol=1e-11)

    def test_a_sequence_after_a_padded_d_train(self, positions, smear):
        model = make("sequence", positions=positions, smear_keys=smear)
        (x, y), (asked, _) = items(2, 6), items(2, 4, seed=2)
        mask = torch.arange(6) < torch.tensor([[4], [6]])
        x[0, 4:] = 100.0
        logits = model.predict(model.adapt(x, y[..., :0], mask), asked).detach()
        for task, count in enumerate((4, 6)):
            line = torch.cat([x[task, :count], asked[task]])
            whole, _ = by_loops(model, line, line[:, :0])
            np.testing.assert_allclose(logits[task], whole[count:], atol=1e-11)

    def test_a_d_train_of_padding_alone_is_none(self, positions, smear):
        model, (x, y) = make("sequence", positions=positions, smear_keys=smear), items(2, 6)
        mask, y = torch.tensor([[False] * 6, [True] * 6]), y[..., :0]
        empty = model.predict(model.adapt(x[:1, :0], y[:1, :0]), x[:1])
        torch.testing.assert_close(model.predict(model.adapt(x, y, mask), x)[:1], empty)

    @pytest.mark.parametrize("mode", ["independent", "stream", "sequence"])
    def test_the_trace_is_of_the_weights_that_made_the_logits(self, positions, smear, mode):
        """On each task's own items: the loops' weights, layer by layer; the logits of `forward`."""
        model = make(mode, positions=positions, smear_keys=smear)
        (x, y), (asked, late) = items(2, 6), items(2, 3, seed=2)
        mask = torch.arange(6) < torch.tensor([[4], [6]]) if mode == "sequence" else None
        if mode == "stream":
            x, y = x[:, :0], y[:, :0]
        y, late = y[..., : model.spec.y_size], late if mode == "stream" else None
        episode = Episode(x, y, asked, asked, torch.arange(2), late, mask)
        with torch.no_grad():
            trace, logits = model.trace(episode), model(episode)
        assert torch.equal(trace.logits, logits)
        weights = trace.arrays["attention"].values
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        seen = x.shape[1]
        for task in range(2):
            real = int(mask[task].sum()) if mask is not None else seen
            own = weights[task][[*range(real), *range(seen, seen + 3)]][..., [*range(real), *range(seen, seen + 3)]]
            blank = torch.zeros(3, model.spec.y_size)
            labels = torch.cat([y[task, :real], blank if late is None else late[task]])
            line = torch.cat([x[task, :real], asked[task]])
            if mode != "independent":
                np.testing.assert_allclose(
                    own.transpose(0, 1), by_loops(model, line, labels)[1].reshape(own.transpose(0, 1).shape), atol=1e-12
                )
                continue
            for q in range(3):
                places = [*range(real), real + q]
                expected = by_loops(model, line[places], labels[places])[1]
                np.testing.assert_allclose(
                    own[places][..., places].transpose(0, 1), expected.reshape(-1, real + 1, real + 1), atol=1e-12
                )


@pytest.mark.parametrize("turning", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
def test_gradcheck_of_a_block(turning, parallel):
    torch.manual_seed(0)
    block = Block(4, 2, 0.0).double()
    visible = causal_mask(torch.tensor([[True, True], [True, False]]), 2, parallel)
    turn = torch.polar(torch.ones(2, 2, 1), torch.rand(2, 2, 1)).to(torch.complex128)
    shapes = (2, 2, 4), (2, 2, 2, 2), (2, 2, 2, 2), (2, 2, 2), (2, 1, 1)
    arguments = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def net(x, keys, values, last, smear):
        query, key, value = block.project_heads(x)
        key = smear_keys(smear, key, last, parallel)
        if turning:
            query, key = rotate(query, turn), rotate(key, turn)
        return block(x, query, torch.cat([keys, key], 2), torch.cat([values, value], 2), visible)

    assert torch.autograd.gradcheck(net, arguments)


def test_what_d_train_is_not_asked_for_changes_nothing():
    """The last layer's reading of D_train, left out, and its gradients."""
    model, (x, y), (asked, _) = make(), items(2, 5), items(2, 4, seed=2)
    whole = model._run_items(model._empty_phi(2), model.encode_items(x, y), None, parallel=False)[1]
    results = []
    for phi in (whole, model.adapt(x, y)):
        logits = model.predict(phi, asked)
        results.append((logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))))
    for full, short in zip(*results, strict=True):
        torch.testing.assert_close(short, full)


def test_no_question_reaches_another():
    model, (x, y), (asked, _) = make(), items(2, 5), items(2, 4, seed=2)
    asked.requires_grad_()
    (grad,) = torch.autograd.grad(model.predict(model.adapt(x, y), asked)[:, 1].sum(), asked)
    assert (grad[:, 1] != 0).any()
    assert not grad[:, [0, 2, 3]].any()


@pytest.mark.parametrize("mode", ["stream", "sequence"])
def test_no_item_reaches_an_earlier_answer_and_each_reaches_its_own(mode):
    model, (x, y) = make(mode), items(2, 6)
    x.requires_grad_()
    late = y if mode == "stream" else None
    logits = model.predict(model.adapt(x[:, :0], y[:, :0, : model.spec.y_size]), x, late)
    for t in range(6):
        (grad,) = torch.autograd.grad(logits[:, t].sum(), x, retain_graph=True)
        assert not grad[:, t + 1 :].any()
        assert (grad[:, : t + 1] != 0).any(-1).all()


class _Made(TorchDispatchMode):
    """Notes what is computed on the processor."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.found += [str(func) for t in tree_leaves(result) if isinstance(t, Tensor) and t.device.type == "cpu"]
        return result


@pytest.mark.parametrize("positions", ["rotary", "none"])
@pytest.mark.parametrize("mode", ["independent", "sequence"])
def test_nothing_is_made_on_the_processor_for_a_model_elsewhere(mode, positions):
    """Reading a number from a GPU would make the program wait for it."""
    model, (x, y) = make(mode, positions=positions, smear_keys=True).to("meta"), items(2, 5)
    x, y = x.to("meta"), y[..., : model.spec.y_size].to("meta")
    mask = torch.ones(2, 5, dtype=torch.bool, device="meta")
    with _Made() as made:
        model.predict(model.adapt(x, y, mask), x)
    assert made.found == []
