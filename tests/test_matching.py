"""`init: content`: a Transformer or a SNAIL that is a matching network before any training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metacli.config.recipe import load_recipe
from metacli.episode import Spec
from metacli.errors import UsageError
from metacli.models.snail import SNAIL
from metacli.models.transformer import Transformer
from metacli.tasks.answers import EmbeddedLabels, Symbols
from metacli.tasks.rng import CounterRNG

both = pytest.mark.parametrize("name", ["transformer", "snail"])


def make(name: str, init: Any, ways: int, width: int = 20, embedded: bool = False):
    torch.manual_seed(0)
    size = EmbeddedLabels(ways).label_size if embedded else ways
    spec = Spec("independent", (width,), size, size, ways + 1, random_labels=embedded)
    flat: Any = {"kind": "flat"}
    if name == "snail":
        keys, values = [width + 1, 8, 8], [64, 8, 8]
        return SNAIL(SNAIL.Config(encoder=flat, filters=8, keys=keys, values=values, init=init), spec).eval()
    heads = 2 if embedded else 4
    config = Transformer.Config(encoder=flat, width=128, layers=3, heads=heads, positions="none", init=init)
    return Transformer(config, spec).eval()


def accuracy(model, ways: int, noise: float) -> float:
    g = torch.Generator().manual_seed(1)
    count = 200 if ways < 50 else 20
    x = torch.randn(count, ways, *model.spec.x_shape, generator=g)
    order = torch.stack([torch.randperm(ways, generator=g) for _ in range(count)])
    answer = EmbeddedLabels(ways) if model.spec.random_labels else Symbols(ways)
    vectors = answer.draw_labels(CounterRNG(0, "test", np.arange(count)), ways)
    with torch.no_grad():
        phi = model.adapt(x, answer.encode(order[..., None], vectors))
        output = model.predict(phi, x + noise * torch.randn(x.shape, generator=g))
    return float((answer.logits(output, vectors).argmax(-1) == order).float().mean())


@both
@pytest.mark.parametrize("ways", [2, 5, 20, 31])
def test_it_answers_by_likeness_untrained(name, ways):
    assert accuracy(make(name, "content", ways), ways, 0.0) > 0.8
    assert accuracy(make(name, "content", ways), ways, 0.2) > 0.75
    assert accuracy(make(name, "random", ways), ways, 0.0) < 2.5 / ways


@both
def test_embedded_labels_are_answered_by_likeness_too(name):
    assert accuracy(make(name, "content", 60, 128, embedded=True), 60, 0.2) > 0.9
    assert accuracy(make(name, "random", 60, 128, embedded=True), 60, 0.0) < 0.05


@both
def test_a_question_looks_at_the_examples_and_not_at_itself(name):
    model, x = make(name, "content", 5), torch.randn(4, 5, 20)
    y = torch.eye(5).expand(4, 5, 5)
    phi, asked = model.adapt(x, y), model.encode_items(x, None)
    if name == "snail":
        (first, *_) = model._run_items(phi, asked, parallel=True).weights
    else:
        seen: list[torch.Tensor] = []
        model._run_items(phi, asked, None, parallel=True, attention_out=seen)
        first = seen[0].mean(1) if seen[0].dim() == 4 else seen[0]  # (B, Q, S + Q)
    assert float(first[..., :5].sum(-1).detach().mean()) > 0.9
    assert bool((first[..., :5].argmax(-1) == torch.arange(5)).all())


@both
def test_every_weight_still_learns(name):
    model, g = make(name, "content", 5).train(), torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 5, 20, generator=g), torch.eye(5).expand(8, 5, 5)
    model.predict(model.adapt(x, y), torch.randn(8, 5, 20, generator=g)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="init: content needs labels of 1 to 32 numbers"):
        load_recipe("glyphs_transformer", ["task.ways=33"])
    with pytest.raises(UsageError, match="init: content"):
        load_recipe("copy_transformer", ["model.init=content"])
    with pytest.raises(UsageError, match=r"labels of 1 to 4 numbers .*have the mode independent"):
        load_recipe("strokes_snail", ["model.init=content", "model.values=[4, 8, 8]"])
    with pytest.raises(UsageError, match="these tasks have the mode stream"):
        load_recipe("omniglot_stream_snail", ["model.init=content"])
