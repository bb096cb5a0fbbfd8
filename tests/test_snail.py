"""SNAIL: blocks against naive loops, and phi against the paper's own order of reading."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.models.layers.attention import causal_mask
from metacli.models.layers.snail_blocks import AttentionBlock, DenseBlock, TCBlock, count_dense_blocks
from metacli.models.snail import SNAIL, Phi

N, SHAPE = 3, (1, 8, 8)


def snail(mode: str = "independent", length: int = 7, keys=(5, 6, 7), values=(4, 3, 2)) -> SNAIL:
    encoder = {"kind": "conv", "channels": 8, "size": 6}
    config = SNAIL.Config.model_validate(
        {"encoder": encoder, "filters": 4, "keys": list(keys), "values": list(values)},
    )
    torch.manual_seed(0)
    model = SNAIL(config, Spec(mode, SHAPE, N, N, length)).double()
    model.encoder(torch.rand(500, *SHAPE, dtype=torch.float64))  # running statistics that keep the small net alive
    return model.eval()


def items(batch: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(N, (batch, count), generator=g)
    return torch.rand(batch, count, *SHAPE, generator=g, dtype=torch.float64), torch.eye(N, dtype=torch.float64)[label]


def nothing(batch: int, width: int) -> Tensor:
    return torch.zeros(batch, 0, width, dtype=torch.float64)


def array(t: Tensor) -> np.ndarray:
    return t.detach().numpy()


def dense_by_loops(block: DenseBlock, x: np.ndarray) -> np.ndarray:
    """One task (T, D), step by step, from the equation of the causal convolution."""
    now, past, bias = array(block.now.weight), array(block.past.weight), array(block.now.bias)
    filters, rows = len(bias) // 2, []
    for t in range(len(x)):
        out = bias.copy()
        for o in range(2 * filters):
            for d in range(x.shape[1]):
                out[o] += now[o, d] * x[t, d]
                if t >= block.dilation:
                    out[o] += past[o, d] * x[t - block.dilation, d]
        rows.append([*x[t], *(np.tanh(out[:filters]) / (1 + np.exp(-out[filters:])))])
    return np.array(rows)


def attention_by_loops(block: AttentionBlock, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One task (T, D): outputs and weights (T, T), item by item over those not later than itself."""
    q, k, v = (x @ array(m.weight).T + array(m.bias) for m in (block.query, block.key, block.value))
    rows, weights = [], np.zeros((len(x), len(x)))
    for t in range(len(x)):
        scores = [math.exp(float(np.dot(q[t], k[s])) / math.sqrt(len(k[s]))) for s in range(t + 1)]
        for s in range(t + 1):
            weights[t, s] = scores[s] / sum(scores)
        rows.append([*x[t], *sum(weights[t, s] * v[s] for s in range(t + 1))])
    return np.array(rows), weights


def snail_by_loops(model: SNAIL, x: Tensor, y: Tensor) -> np.ndarray:
    """Logits (T, O) of one whole sequence x (T, ...), y (T, Y), by the loops above."""
    h = np.concatenate([array(model.encoder(x)), array(y)], 1)
    for i, attention in enumerate(model.attentions):
        if i:
            for block in model.convolutions[i - 1].blocks:
                h = dense_by_loops(block, h)
        h = attention_by_loops(attention, h)[0]
    return h @ array(model.output.weight).T + array(model.output.bias)


class TestBlocks:
    @given(steps=st.integers(1, 9), dilation=st.integers(1, 5), seed=st.integers(0, 99))
    @settings(max_examples=15, deadline=None)
    def test_dilated_causal_convolution(self, steps, dilation, seed):
        torch.manual_seed(seed)
        block, x = DenseBlock(3, 2, dilation).double(), torch.randn(2, steps, 3, dtype=torch.float64)
        out = array(block(x, nothing(2, 3), parallel=False))
        np.testing.assert_allclose(out, [dense_by_loops(block, array(row)) for row in x], atol=1e-12)

    @given(steps=st.integers(1, 7), seed=st.integers(0, 99))
    @settings(max_examples=15, deadline=None)
    def test_causal_attention(self, steps, seed):
        torch.manual_seed(seed)
        block, x = AttentionBlock(3, 4, 2).double(), torch.randn(2, steps, 3, dtype=torch.float64) * 5
        visible = causal_mask(torch.ones(2, 0, dtype=torch.bool), steps, parallel=False)
        out, _, _, weights = block(x, nothing(2, 4), nothing(2, 2), visible)
        for row in range(2):
            expected, expected_weights = attention_by_loops(block, array(x[row]))
            np.testing.assert_allclose(array(out[row]), expected, atol=1e-12)
            np.testing.assert_allclose(array(weights[row]), expected_weights, atol=1e-12)

    @pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 9])
    def test_dilations_reach_every_offset(self, length):
        torch.manual_seed(0)
        block = TCBlock(2, 3, length).double()
        x = torch.randn(1, length, 2, dtype=torch.float64, requires_grad=True)
        last = block(x, nothing(1, block.width), parallel=False)[0, -1, 2:].sum()
        (grad,) = torch.autograd.grad(last, x)
        assert (grad[0].abs().sum(-1) > 0).all()

    def test_dilations_from_two_reach_every_other_offset(self):
        """The letter of the paper's pseudo-code."""
        torch.manual_seed(0)
        block = TCBlock(2, 3, 8, first_dilation=2).double()
        x = torch.randn(1, 8, 2, dtype=torch.float64, requires_grad=True)
        last = block(x, nothing(1, block.width), parallel=False)[0, -1, 2:].sum()
        (grad,) = torch.autograd.grad(last, x)
        assert (grad[0].abs().sum(-1) > 0).tolist() == [False, True] * 4

    @given(st.integers(1, 2000))
    def test_depth_is_the_ceiling_of_log2(self, length):
        assert 2 ** count_dense_blocks(length) >= length
        assert count_dense_blocks(length) == 1 or 2 ** (count_dense_blocks(length) - 1) < length

    @pytest.mark.parametrize("parallel", [False, True])
    def test_gradcheck(self, parallel):
        torch.manual_seed(0)
        block, dense = AttentionBlock(3, 2, 2).double(), TCBlock(3, 2, 4).double()
        visible = causal_mask(torch.tensor([[True, True], [False, True]]), 2, parallel)

        def net(x, history, keys, values):
            return (*block(x, keys, values, visible), dense(x, history, parallel))

        shapes = (2, 2, 3), (2, 2, dense.width), (2, 2, 2), (2, 2, 2)
        arguments = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        assert torch.autograd.gradcheck(net, arguments)


class TestPhi:
    @pytest.mark.parametrize("shots", range(1, 7))
    def test_query_from_phi_equals_the_whole_sequence(self, shots):
        """Mishra et al. 2018: the sequence [D_train, query], read anew for every query."""
        model, (x, y), (queries, _) = snail(), items(2, shots), items(2, 4, seed=1)
        logits = model.predict(model.adapt(x, y), queries)
        for task in range(2):
            for q in range(4):
                line = torch.cat([x[task], queries[task, q : q + 1]])
                labels = torch.cat([y[task], torch.zeros(1, N, dtype=torch.float64)])
                whole = snail_by_loops(model, line, labels)
                np.testing.assert_allclose(array(logits[task, q]), whole[-1], atol=1e-12)

    def test_stream_equals_the_whole_sequence(self):
        model, (x, _), (_, late) = snail("stream", 8), items(2, 8), items(2, 8, seed=1)
        logits = model.predict(model.adapt(x[:, :0], late[:, :0]), x, late)
        for task in range(2):
            np.testing.assert_allclose(array(logits[task]), snail_by_loops(model, x[task], late[task]), atol=1e-12)

    def test_stream_continues_from_a_part_of_it(self):
        model, (x, _), (_, late) = snail("stream", 8), items(2, 8), items(2, 8, seed=1)
        whole = model.predict(model.adapt(x[:, :0], late[:, :0]), x, late)
        rest = model.predict(model.adapt(x[:, :3], late[:, :3]), x[:, 3:], late[:, 3:])
        torch.testing.assert_close(rest, whole[:, 3:])

    def test_one_query_does_not_change_another(self):
        model, (x, y), (queries, _) = snail(), items(2, 5), items(2, 4, seed=1)
        phi = model.adapt(x, y)
        queries.requires_grad_()
        (grad,) = torch.autograd.grad(model.predict(phi, queries)[:, 1].sum(), queries)
        assert (grad[:, 1] != 0).any()
        assert not grad[:, [0, 2, 3]].any()

    def test_later_items_do_not_change_earlier_ones(self):
        model, (x, _), (_, late) = snail("stream", 8), items(2, 8), items(2, 8, seed=1)
        x.requires_grad_()
        late.requires_grad_()
        logits = model.predict(model.adapt(x[:, :0], late[:, :0]), x, late)
        for t in range(8):
            for grad in torch.autograd.grad(logits[:, t].sum(), (x, late), retain_graph=True):
                assert not grad[:, t + 1 :].any()
                assert (grad[:, : t + 1].flatten(2) != 0).any(-1).all()

    def test_later_items_of_d_train_leave_the_earlier_activations(self):
        model, (x, y) = snail(), items(2, 6)
        whole, part = model.adapt(x, y), model.adapt(x[:, :4], y[:, :4])
        for long, short in zip(whole, part, strict=True):
            torch.testing.assert_close(long[:, :4], short)

    def test_padding_is_not_read(self):
        model, (x, y), (queries, _) = snail(), items(2, 6), items(2, 4, seed=1)
        mask = torch.ones(2, 6, dtype=torch.bool)
        mask[1, 2:] = False
        x[1, 2:] = 100.0
        padded = model.predict(model.adapt(x, y, mask), queries)
        short = model.predict(model.adapt(x[1:, :2], y[1:, :2]), queries[1:])
        torch.testing.assert_close(padded[1:], short)
        torch.testing.assert_close(padded[:1], model.predict(model.adapt(x[:1], y[:1]), queries[:1]))

    def test_what_d_train_is_not_asked_for_changes_nothing(self):
        """The last block's reading of D_train, left out, and its gradients."""
        model, (x, y), (queries, _) = snail(), items(2, 6), items(2, 4, seed=1)
        run = model._run_items(model._empty_phi(2), model.encode_items(x, y), parallel=False)
        whole = Phi(run.items, run.keys, run.values, torch.ones(2, 6, dtype=torch.bool))
        results = []
        for phi in (whole, model.adapt(x, y)):
            logits = model.predict(phi, queries)
            results.append((logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))))
        for full, short in zip(*results, strict=True):
            torch.testing.assert_close(short, full, atol=1e-9, rtol=1e-9)

    def test_relabelling_changes_phi_and_the_answer(self):
        model, (x, y), (queries, _) = snail(), items(2, 5), items(2, 4, seed=1)
        phi, other = model.adapt(x, y), model.adapt(x, y.roll(1, -1))
        assert (phi.keys - other.keys).abs().max() > 1e-6
        assert (model.predict(phi, queries) - model.predict(other, queries)).abs().max() > 1e-6

    @pytest.mark.parametrize("mode", ["independent", "stream"])
    def test_a_gradient_reaches_every_parameter(self, mode):
        model, (x, y), (queries, late) = snail(mode, 6).train(), items(4, 5), items(4, 3, seed=1)
        model.predict(model.adapt(x, y), queries, late if mode == "stream" else None).square().sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


class TestTrace:
    def test_padding_of_a_sequence(self):
        """A padded row has the weights of the task alone, in the episode's own order."""
        torch.manual_seed(0)
        config = SNAIL.Config.model_validate(
            {"encoder": {"kind": "flat"}, "filters": 4, "keys": [5, 6], "values": [4, 3]}
        )
        model = SNAIL(config, Spec("sequence", (6,), 0, 4, 9)).double()
        x, asked = torch.randn(2, 5, 6).double(), torch.randn(2, 4, 6).double()
        y, answers, mask = x[..., :0], torch.zeros(2, 4, 4), torch.arange(5) < torch.tensor([[5], [2]])
        whole = model.trace(Episode(x, y, asked, answers, torch.arange(2), mask_train=mask))
        alone = model.trace(Episode(x[1:, :2], y[1:, :2], asked[1:], answers[1:], torch.arange(1)))
        torch.testing.assert_close(whole.logits[1:], alone.logits)
        kept = [0, 1, 5, 6, 7, 8]
        weights = whole.arrays["attention"].values[1]
        torch.testing.assert_close(weights[kept][..., kept], alone.arrays["attention"].values[0])
        assert not weights[kept][..., [2, 3, 4]].any()

    def test_weights_of_questions(self):
        """Distributions over D_train and itself, in the order of D_train, those of the whole sequence's last row."""
        model, (x, y), (queries, _) = snail(), items(2, 5), items(2, 4, seed=1)
        weights = model.trace(Episode(x, y, queries, queries, torch.arange(2))).arrays["attention"].values
        assert weights.shape == (2, 9, 3, 9)
        asked, own = weights[:, 5:, :, :5], weights[:, 5:, :, 5:]
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 9, 3, dtype=torch.float64))
        assert not (own * (1 - torch.eye(4, dtype=torch.float64)[:, None])).any()  # no question sees another
        line = torch.cat([x[0], queries[0, 2:3]])
        labels = torch.cat([y[0], torch.zeros(1, N, dtype=torch.float64)])
        first = np.concatenate([array(model.encoder(line)), array(labels)], 1)
        _, expected = attention_by_loops(model.attentions[0], first)
        np.testing.assert_allclose(array(asked[0, 2, 0]), expected[-1, :-1], atol=1e-12)
        np.testing.assert_allclose(array(own[0, 2, 0, 2]), expected[-1, -1], atol=1e-12)

    def test_weights_of_a_stream(self):
        model, (x, _), (_, late) = snail("stream", 8), items(2, 8), items(2, 8, seed=1)
        episode = Episode(x[:, :0], late[:, :0], x, x, torch.arange(2), y_previous=late)
        weights = model.trace(episode).arrays["attention"].values
        assert weights.shape == (2, 8, 3, 8)
        assert not weights.transpose(1, 2).triu(1).any()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 8, 3, dtype=torch.float64))


class TestLimits:
    def test_convolutions_are_for_images(self):
        vectors, flat = Spec("sequence", (6,), 0, 4, 9), SNAIL.Config.model_validate({"encoder": {"kind": "flat"}})
        assert "conv needs images" in (SNAIL.check_compatible(SNAIL.Config(), vectors) or "")
        assert SNAIL.check_compatible(flat, vectors) is None
        assert SNAIL.check_compatible(SNAIL.Config(), Spec("stream", SHAPE, N, N, 9)) is None

    def test_a_model_refuses_what_it_does_not_serve(self, monkeypatch):
        monkeypatch.setattr(SNAIL, "modes", frozenset({"independent"}))
        words = SNAIL.check_compatible(SNAIL.Config(), Spec("stream", SHAPE, N, N, 9))
        assert words == "snail supports tasks in mode independent, not stream"

    def test_reach(self):
        """Built for 7 steps, the net reaches 8: 7 items and a question; more is an error that names the limit."""
        model, (queries, late) = snail(length=7), items(2, 20)
        phi = model.adapt(*items(2, 7))
        assert model.predict(phi, queries).shape == (2, 20, N)
        with pytest.raises(UsageError, match=r"9 items.* the 8 items"):
            model.predict(model.adapt(*items(2, 8)), queries)
        with pytest.raises(UsageError, match="longer than the 8 items"):
            model.adapt(*items(2, 9))
        stream = snail("stream", 7)
        with pytest.raises(UsageError, match=r"20 items.* the 8 items"):
            stream.predict(stream.adapt(queries[:, :0], late[:, :0]), queries, late)

    def test_the_defaults_are_the_papers_network(self):
        """Mishra et al. 2018, appendix A: 64 features and N labels, widened block by block."""
        model = SNAIL(SNAIL.Config(), Spec("independent", (1, 28, 28), 5, 5, 6))
        assert model.output.in_features == 64 + 5 + 32 + 3 * 128 + 128 + 3 * 128 + 256
        assert model.attentions[2].query.out_features == 512

    def test_keys_and_values_come_in_pairs(self):
        with pytest.raises(ValidationError, match="keys has 1 numbers, values has 3"):
            SNAIL.Config(keys=[8])
