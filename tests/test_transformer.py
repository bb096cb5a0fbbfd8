"""The Transformer: attention against a plain loop, cached phi against one whole sequence, positions and padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from metacli.episode import Spec
from metacli.models.layers.attention import attention_weights, rotate
from metacli.models.transformer import Block, Transformer

N, D = 3, 5


def make(mode: str = "independent", **keys) -> Transformer:
    torch.manual_seed(0)
    config = Transformer.Config(width=16, layers=2, heads=2, **keys)
    y_size = 0 if mode == "sequence" else N
    return Transformer(config, Spec(mode, (D,), y_size, N, 12)).double().eval()


def items(count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, count, D, generator=g, dtype=torch.float64)
    return x, torch.eye(N, dtype=torch.float64)[torch.randint(N, (2, count), generator=g)]


def naive_attention(query: np.ndarray, keys: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """One head: each weight by itself, queries (T, D), keys (S, D), visible (T, S)."""
    weights = np.zeros(visible.shape)
    for t in range(len(query)):
        scores = [
            math.exp(query[t] @ keys[s] / math.sqrt(len(keys[s]))) if visible[t, s] else 0 for s in range(len(keys))
        ]
        weights[t] = np.array(scores) / sum(scores)
    return weights


def test_the_weights_equal_a_plain_loop_and_are_those_that_make_the_output() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 4).double() for n in (5, 7, 7))
    visible = torch.rand(2, 5, 7) < 0.6
    visible[..., -1] = True
    weights = attention_weights(query, key, visible)
    for b in range(2):
        for h in range(3):
            wanted = naive_attention(query[b, h].numpy(), key[b, h].numpy(), visible[b].numpy())
            np.testing.assert_allclose(weights[b, h], wanted, atol=1e-12)
    read = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible.unsqueeze(1))
    torch.testing.assert_close(weights @ value, read)


def test_a_block_equals_its_formula() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 0.0).double()
    x = torch.randn(1, 4, 8).double()
    visible = torch.ones(1, 4, 4, dtype=torch.bool).tril()
    got = block(x, *block.project_heads(x), visible)[0].detach().numpy()

    def norm(v: np.ndarray) -> np.ndarray:
        return (v - v.mean(-1, keepdims=True)) / np.sqrt(v.var(-1, keepdims=True) + 1e-5)

    w = {name: p.detach().numpy() for name, p in block.named_parameters()}
    seen = x[0].numpy()
    parts = norm(seen) @ w["project.weight"].T + w["project.bias"]
    reads = []
    for h in range(2):
        q, k, v = (parts[:, 8 * i + 4 * h : 8 * i + 4 * h + 4] for i in range(3))
        reads.append(naive_attention(q, k, np.tril(np.ones((4, 4)))) @ v)
    out = seen + np.concatenate(reads, 1) @ w["merge.weight"].T + w["merge.bias"]
    inner = norm(out) @ w["network.0.weight"].T + w["network.0.bias"]
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    np.testing.assert_allclose(got, out + inner @ w["network.2.weight"].T + w["network.2.bias"], atol=1e-10)


@pytest.mark.parametrize("positions", ["rotary", "none"])
def test_a_cached_phi_equals_the_whole_sequence_read_at_once(positions: str) -> None:
    model = make("sequence", positions=positions)
    x, _ = items(9)
    label = x.new_zeros(2, 9, 0)
    phi = model.adapt(x[:, :5], label[:, :5])
    whole = model.predict(model.adapt(x[:, :0], label[:, :0]), x)
    torch.testing.assert_close(model.predict(phi, x[:, 5:]), whole[:, 5:])


@pytest.mark.parametrize("mode", ["independent", "sequence"])
def test_padding_is_not_there(mode: str) -> None:
    model = make(mode)
    x, y = items(6)
    y = y[..., : model.spec.y_size]
    mask = torch.arange(6) < torch.tensor([[4], [6]])
    asked, _ = items(3, seed=2)
    padded = model.predict(model.adapt(x, y, mask), asked)
    alone = model.predict(model.adapt(x[:1, :4], y[:1, :4]), asked[:1])
    torch.testing.assert_close(padded[:1], alone)


def test_rotary_attention_depends_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 1, 8).double(), torch.randn(1, 1, 1, 8).double()
    rate = 10_000.0 ** (-torch.arange(4).double() / 4)

    def score(at: int, from_: int) -> float:
        turns = [torch.polar(torch.ones(1, 1, 4).double(), (p * rate)[None, None]) for p in (at, from_)]
        return float((rotate(query, turns[0]) * rotate(key, turns[1])).sum())

    assert score(9, 4) == pytest.approx(score(5, 0))
    assert score(5, 0) != pytest.approx(score(6, 0))
    assert rotate(query, torch.ones(1, 1, 4, dtype=torch.complex128)).equal(query)


def test_without_positions_the_same_context_in_one_layer_has_no_order() -> None:
    torch.manual_seed(0)
    config = Transformer.Config(width=16, layers=1, heads=2, positions="none")
    model = Transformer(config, Spec("independent", (D,), N, N, 9)).double().eval()
    (x, y), (asked, _) = items(6), items(2, seed=2)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    one, two = model.adapt(x, y), model.adapt(x[:, order], y[:, order])
    torch.testing.assert_close(model.predict(one, asked), model.predict(two, asked))


def test_dropout_is_for_training() -> None:
    model = make(dropout=0.5)
    (x, y), (asked, _) = items(6), items(2, seed=2)
    still = [model.predict(model.adapt(x, y), asked) for _ in range(2)]
    assert torch.equal(*still)
    model.train()
    moving = [model.predict(model.adapt(x, y), asked) for _ in range(2)]
    assert not torch.equal(*moving)


@pytest.mark.parametrize("keys", [{"width": 12, "heads": 4}, {"width": 8, "heads": 8}])
def test_heads_that_do_not_fit_are_refused(keys: dict) -> None:
    with pytest.raises(ValidationError, match="must be a multiple of 2"):
        Transformer.Config(**keys)
