"""`init: content`: a Transformer that is a matching network before any training."""

from __future__ import annotations

import pytest
import torch

from metacli.config.recipe import load
from metacli.episode import Spec
from metacli.errors import UsageError
from metacli.models.transformer import Transformer


def make(init: str, ways: int, width: int = 20):
    config = Transformer.Config(
        encoder={"kind": "flat"},
        width=128,
        layers=3,
        heads=4,
        positions="none",
        init=init,  # type: ignore[arg-type]
    )
    torch.manual_seed(0)
    return Transformer(config, Spec("independent", (width,), ways, ways, ways + 1)).eval()


def accuracy(model, ways: int, noise: float) -> float:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(200, ways, 20, generator=g)
    order = torch.stack([torch.randperm(ways, generator=g) for _ in range(200)])
    y = torch.nn.functional.one_hot(order, ways).float()
    with torch.no_grad():
        logits = model.predict(model.adapt(x, y), x + noise * torch.randn(x.shape, generator=g))
    return float((logits.argmax(-1) == order).float().mean())


@pytest.mark.parametrize("ways", [2, 5, 20, 31])
def test_it_answers_by_likeness_untrained(ways):
    assert accuracy(make("content", ways), ways, 0.0) > 0.8
    assert accuracy(make("content", ways), ways, 0.2) > 0.75
    assert accuracy(make("random", ways), ways, 0.0) < 2.5 / ways


def test_a_question_looks_at_the_examples_and_not_at_itself():
    model, x = make("content", 5), torch.randn(4, 5, 20)
    y = torch.eye(5).expand(4, 5, 5)
    seen = []
    model._run(model.adapt(x, y), model.inputs(x, None), None, parallel=True, looked=seen)
    first = seen[0].mean(1) if seen[0].dim() == 4 else seen[0]  # (B, Q, S + Q)
    assert float(first[..., :5].sum(-1).detach().mean()) > 0.9
    assert bool((first[..., :5].argmax(-1) == torch.arange(5)).all())


def test_every_weight_still_learns():
    model, g = make("content", 5).train(), torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 5, 20, generator=g), torch.eye(5).expand(8, 5, 5)
    model.predict(model.adapt(x, y), torch.randn(8, 5, 20, generator=g)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_labels_that_do_not_fit_a_head_are_refused():
    with pytest.raises(UsageError, match="init: content needs labels of 1 to 31 numbers"):
        load("glyphs_transformer", ["task.ways=32"])
    with pytest.raises(UsageError, match="init: content"):
        load("copy_transformer", ["model.init=content"])
