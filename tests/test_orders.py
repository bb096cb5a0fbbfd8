"""`eval --orders`: answers averaged over orders of the support set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_cli import inside

import metacli
from metacli.evaluation.evaluate import evaluate
from metacli.evaluation.orders import OrderAverage
from metacli.models.base import MetaLearner
from metacli.tasks.images.strokes import Strokes

TASK = {"name": "strokes", "classes": 24, "val_classes": 20, "test_classes": 20, "size": 14, "ways": 4, "queries": 2}
MOVES = {"rotation": 20, "shift": 2, "stretch": 1.2, "slant": 10}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An LSTM, whose answers depend on the order of the support set, trained for a moment with varied shots."""
    folder = tmp_path_factory.mktemp("runs") / "lstm"
    model = {"name": "lstm", "hidden": 6, "layers": 1, "encoder": {"kind": "flat"}}
    task = {**TASK, **MOVES, "shots": 3, "fewest_shots": 1}
    train = {"steps": 2, "batch": 2, "eval_tasks": 2}
    metacli.train({"name": "x", "task": task, "model": model, "train": train}, run_dir=folder, quiet=True)
    return folder


def test_one_order_is_the_task_as_it_is(run, monkeypatch, capsys):
    results = []
    for options in ([], ["--orders", "1"]):
        code, out, err = inside(monkeypatch, capsys, "eval", run, "--tasks", "30", "--json", *options)
        assert code == 0, err
        results.append(json.loads(out))
    assert results[0] == results[1]
    assert results[0]["orders"] == 1


def test_the_number_of_orders_is_named_wherever_the_score_is(run, monkeypatch, capsys):
    words = ["eval", run, "--tasks", "8", "--orders", "3"]
    assert "averaged over 3 orders" in inside(monkeypatch, capsys, *words)[1]
    assert "averaged over 3 orders" in inside(monkeypatch, capsys, *words, run)[1]
    assert json.loads(inside(monkeypatch, capsys, *words, "--json")[1])["orders"] == 3
    assert json.loads(inside(monkeypatch, capsys, *words, run, "--json")[1])["orders"] == 3
    assert "averaged over 3 orders" in str(metacli.evaluate(run, n_tasks=8, orders=3))
    assert not (run / "eval.json").exists() or json.loads((run / "eval.json").read_text())["orders"] == 1


def test_the_score_of_a_task_depends_only_on_its_number(run):
    """Not on the number of tasks, nor on those that are answered in the same batch (65 and 64 have other shots)."""
    many = metacli.evaluate(run, n_tasks=66, orders=3).values["loss"]
    np.testing.assert_allclose(metacli.evaluate(run, n_tasks=7, orders=3).values["loss"], many[:7], rtol=1e-6)
    assert not np.allclose(metacli.evaluate(run, n_tasks=66).values["loss"], many)


def strokes(**changes) -> Strokes:
    return Strokes(Strokes.Config(**{**TASK, **changes}), 0)


class Recorder(MetaLearner):
    """Answers with the label of the nearest support example, and keeps what it read."""

    def __init__(self, spec):
        torch.nn.Module.__init__(self)
        self.spec, self.weight, self.read = spec, torch.nn.Parameter(torch.zeros(1)), []

    def adapt(self, x_train, y_train, mask=None):
        self.read.append((x_train, y_train, mask))
        return x_train, y_train, mask

    def predict(self, phi, x_test, y_previous=None):
        x, y, mask = phi
        distance = (x_test.flatten(2)[:, :, None] - x.flatten(2)[:, None]).square().sum(-1)
        if mask is not None:
            distance = distance.masked_fill(~mask[:, None], 1e9)
        return 40 * y[torch.arange(len(x))[:, None], distance.argmin(2)]


@pytest.mark.parametrize("changes", [{"shots": 2}, {"shots": 3, "fewest_shots": 1}, {"fewest_ways": 2}])
def test_other_orders_permute_examples_and_labels_and_keep_padding_last(changes):
    """A model that does not depend on order or labels answers alike in all orders, without augmentation."""
    tasks = strokes(**changes)
    model = Recorder(strokes(**{**changes, "ways": 6}).spec)  # a model of more classes
    one = evaluate(model, tasks, "test", 70, CPU)
    model.read.clear()
    several = evaluate(OrderAverage(model, tasks, "test", 3), tasks, "test", 70, CPU)
    np.testing.assert_allclose(several.values["accuracy"], one.values["accuracy"])
    for (x, y, mask), *others in zip(*(iter(model.read),) * 3, strict=True):
        for x_other, y_other, mask_other in others:
            assert (mask is None and mask_other is None) or torch.equal(mask, mask_other)
            for b in range(len(x)):
                n = len(x[b]) if mask is None else int(mask[b].sum())
                assert sorted(x[b, :n].sum((1, 2, 3)).tolist()) == sorted(x_other[b, :n].sum((1, 2, 3)).tolist())
                assert y_other[b, :n].sum() == n
            assert not torch.equal(x, x_other)
            assert not torch.equal(y, y_other)


def test_images_are_moved_as_in_training_but_not_in_the_first_order():
    tasks = strokes(**MOVES)
    model, episode = Recorder(tasks.spec), tasks.batch("test", 0, 5)
    OrderAverage(model, tasks, "test", 3)(episode)
    (first, *_), (second, *_), (third, *_) = model.read
    assert torch.equal(first, episode.x_train)
    totals = [x.sum((1, 2, 3, 4)) for x in (first, second, third)]
    assert not torch.allclose(totals[0], totals[1], rtol=1e-3)
    assert not torch.allclose(totals[1], totals[2], rtol=1e-3)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"name": "clusters"}, "has no images"),
        ({**TASK, "protocol": "stream", "length": 8}, "mode stream"),
        ({**TASK, "labels": "strings"}, "labels of 5 characters"),
    ],
)
def test_other_tasks_have_no_orders(task, words, tmp_path, tiny_tree, monkeypatch, capsys):
    metacli.train(tiny_tree | {"name": "x", "task": task}, run_dir=tmp_path / "r", quiet=True)
    code, _, err = inside(monkeypatch, capsys, "eval", tmp_path / "r", "--orders", "2")
    assert code == 2
    assert words in err
    assert "hint: leave out --orders" in err


@pytest.mark.parametrize("orders", [0, 1001])
def test_wrong_numbers_of_orders(run, orders):
    with pytest.raises(ValueError, match="should be from 1 to 1000"):
        metacli.evaluate(run, orders=orders)


def test_embedded_labels_are_drawn_anew_in_every_order():
    tasks = strokes(labels="embedded")
    model = Recorder(tasks.spec)
    scores = evaluate(OrderAverage(model, tasks, "test", 3), tasks, "test", 4, CPU)
    assert scores.values["accuracy"].shape == (4,)
    (_, first, _), (_, second, _), (_, third, _) = model.read  # the labels of each order
    assert first.shape == (4, 4, tasks.spec.y_size)
    torch.testing.assert_close(second.norm(dim=2), torch.ones(4, 4))
    assert not torch.equal(second.sort(1).values, third.sort(1).values)
    one = evaluate(model, tasks, "test", 4, CPU)
    np.testing.assert_allclose(scores.values["accuracy"], one.values["accuracy"])
