from __future__ import annotations

import itertools
import json
import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_keys

from metacli.checkpoints import checkpoint
from metacli.config.keys import flatten
from metacli.config.recipe import recipe_from_dict
from metacli.config.train import TrainConfig
from metacli.errors import MetacliError, UsageError
from metacli.evaluation.confidence import mean_ci95, student_t
from metacli.evaluation.evaluate import build_eval_tasks, evaluate
from metacli.evaluation.logits import compute_output
from metacli.registry import MODELS, TASKS, resolve
from metacli.runs.directory import RunDirectory
from metacli.training.loop import train
from metacli.training.optimizer import clip_gradients
from metacli.training.progress import Progress
from metacli.training.run import RunPlan

CPU = torch.device("cpu")


def run(recipe, path, resume=None):
    return train(recipe, RunPlan(None, path) if resume else RunPlan(path), CPU, Progress(quiet=True), 1)


def weights(path):
    return checkpoint.load(path / "last.safetensors").model


def image_tree(tiny_tree, model):
    """A recipe on strokes, where every model serves."""
    task = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3, "queries": 2}
    return tiny_tree | {"task": task, "model": tiny_keys(model)}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "rmsprop-graves"])
def test_a_resumed_run_ends_at_the_same_weights_bit_for_bit(tmp_path, tiny_tree, model, optimizer):
    tree = image_tree(tiny_tree, model)
    tree["train"] = tree["train"] | {"optimizer": optimizer, "schedule": "cosine", "warmup": 2}
    recipe = recipe_from_dict(tree, "x")
    run(recipe, tmp_path / "whole")
    stop_at(4, recipe, tmp_path / "cut")
    RunDirectory(tmp_path / "cut").log({"step": 5, "loss": 0.0})  # as a crash after the checkpoint would leave
    run(recipe, tmp_path / "cut", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "cut")


@pytest.mark.parametrize(("save", "log", "stop"), [(2, 3, 4), (4, 3, 7), (3, 100, 4), (1, 4, 5)])
def test_the_log_of_a_resumed_run_is_that_of_one_never_stopped(tmp_path, tiny, save, log, stop):
    """Also where it was stopped between two lines, and its checkpoints lie between lines."""
    keys = {"steps": 12, "eval_every": 5, "checkpoint_every": save, "log_every": log}
    recipe = replace(tiny, train=tiny.train.model_copy(update=keys))
    run(recipe, tmp_path / "whole")
    stop_at(stop, recipe, tmp_path / "cut")
    run(recipe, tmp_path / "cut", resume=True)
    assert timeless(tmp_path / "cut") == timeless(tmp_path / "whole")
    assert checkpoint.load(tmp_path / "cut" / "last.safetensors").meter is None  # the end is a line


def timeless(path):
    """The log, but for what differs from one run to the next."""
    clocks = ("seconds", "episodes_per_s")
    return [{k: v for k, v in record.items() if k not in clocks} for record in RunDirectory(path).read_metrics()]


def test_a_signal_during_a_validation_saves_that_step(tmp_path, tiny, monkeypatch):
    """It comes when the step is done; the next one, which all processes can agree on, is the last."""
    cls = resolve(TASKS, "copy", "task")
    original = cls.batch

    def batch(self, split, first, count):
        if split == "val" and (tmp_path / "r" / "last.safetensors").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, split, first, count)

    monkeypatch.setattr(cls, "batch", batch)
    outcome = run(tiny, tmp_path / "r")
    assert (outcome.step, outcome.code) == (4, 143)
    assert checkpoint.load(tmp_path / "r" / "last.safetensors").step == 4


@pytest.mark.parametrize(("at", "kept"), [(6, 4), (5, 4), (2, 0)])
def test_a_second_signal_says_what_is_lost(tmp_path, tiny, monkeypatch, capsys, at, kept):
    cls = resolve(TASKS, "copy", "task")
    original = cls.batch

    def batch(self, split, first, count):
        if split == "train" and first == (at - 1) * count:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return original(self, split, first, count)

    monkeypatch.setattr(cls, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, RunPlan(tmp_path / "r"), CPU, Progress(), 1)
    err = capsys.readouterr().err
    lost = at - 1 - kept
    assert f"nothing saved after step {kept}: {lost} step{'s' * (lost != 1)} and the current one are lost" in err
    assert f"Resume from step {kept} with: metacli train --resume {tmp_path / 'r'}" in err
    monkeypatch.undo()
    run(tiny, tmp_path / "r", resume=True)  # nothing is left of its lock
    run(tiny, tmp_path / "whole")
    assert timeless(tmp_path / "r") == timeless(tmp_path / "whole")


def test_sampling_beside_the_step_changes_nothing(tmp_path, tiny_tree, monkeypatch):
    recipe = recipe_from_dict(image_tree(tiny_tree, "lstm"), "x")
    run(recipe, tmp_path / "inline")
    monkeypatch.setattr("metacli.compute.cpu.available_cores", lambda: (2, "cores"))
    run(recipe, tmp_path / "beside")
    one, two = weights(tmp_path / "inline"), weights(tmp_path / "beside")
    assert all(torch.equal(one[k], two[k]) for k in one)


def stop_at(step, recipe, path):
    """Train until SIGTERM arrives during `step`."""
    cls = resolve(TASKS, recipe.task.name, "task")
    original = cls.batch

    def batch(self, split, first, count):
        if split == "train" and first == (step - 1) * recipe.train.batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, split, first, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "batch", batch)
        outcome = run(recipe, path)
    assert (outcome.step, outcome.code) == (step, 143)


def test_files_of_a_run(tmp_path, tiny):
    outcome = run(tiny, tmp_path / "r")
    names = {p.name for p in (tmp_path / "r").iterdir()}
    assert names == {"recipe.yaml", "env.json", "metrics.jsonl", "last.safetensors", "best.safetensors"}
    assert RunDirectory.open(tmp_path / "r")[1] == tiny
    records = RunDirectory(tmp_path / "r").read_metrics()
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in records if "val" in r] == [3, 6]
    assert outcome.best == min(r["val"]["bits"] for r in records if "val" in r)
    assert json.loads((tmp_path / "r" / "env.json").read_text())["torch"] == torch.__version__


def test_training_lowers_the_loss(tmp_path, tiny_tree):
    tree = tiny_tree | {"task": {"name": "copy", "width": 2, "max_length": 1}}
    tree["train"] = tree["train"] | {"steps": 150, "lr": 1e-2, "batch": 16, "eval_every": 0, "checkpoint_every": 0}
    run(recipe_from_dict(tree, "x"), tmp_path / "r")
    losses = [r["loss"] for r in RunDirectory(tmp_path / "r").read_metrics()]
    assert np.mean(losses[:5]) > 0.65
    assert np.mean(losses[-5:]) < 0.4


def test_a_run_is_never_overwritten(tmp_path, tiny):
    run(tiny, tmp_path / "r")
    with pytest.raises(UsageError, match="exists already"):
        run(tiny, tmp_path / "r")


def test_resume_with_another_recipe_is_refused(tmp_path, tiny):
    run(tiny, tmp_path / "r")
    other = replace(tiny, train=tiny.train.model_copy(update={"lr": 0.5}))
    with pytest.raises(UsageError, match=r"train.lr: 0.001 in the run, 0.5 now"):
        run(other, tmp_path / "r", resume=True)
    with pytest.raises(UsageError, match="not a run directory"):
        run(tiny, tmp_path, resume=True)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path, tiny, monkeypatch, broken):
    cls = resolve(TASKS, "copy", "task")
    original = cls.loss

    def loss(self, logits, episode):
        value = original(self, logits, episode)
        if int(episode.index[0]) < 4 * 4:
            return value
        # sqrt'(0) is infinite while its value is 0
        return value * math.nan if broken == "loss" else value + (logits * 0).sum().abs().sqrt()

    monkeypatch.setattr(cls, "loss", loss)
    with pytest.raises(MetacliError, match=r"diverged at step 5") as e:
        run(tiny, tmp_path / "r")
    assert "train.lr" in e.value.hint
    assert e.value.code == 1
    saved = checkpoint.load(tmp_path / "r" / "last.safetensors")
    assert saved.step == 4
    assert all(v.isfinite().all() for v in saved.model.values())


def test_scores_do_not_depend_on_the_chunk(tmp_path, tiny, monkeypatch):
    run(tiny, tmp_path / "r")
    saved = checkpoint.load(tmp_path / "r")
    _, tasks = build_eval_tasks(saved, [])
    whole = evaluate(saved.build_model(), tasks, "test", 7, CPU)
    monkeypatch.setattr("metacli.evaluation.evaluate.CHUNK", 3)
    parts = evaluate(saved.build_model(), tasks, "test", 7, CPU)
    for name, value in whole.values.items():
        np.testing.assert_allclose(parts.values[name], value, rtol=1e-5)
    assert list(parts.index) == list(range(7))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train.lr=1"], "is no key of the tasks"),
        (["task.width=5"], "reads inputs of shape"),
        (["task.name=priority-sort"], "shape"),
        (["task.wdith=5"], "did you mean 'width'"),
    ],
)
def test_eval_refuses_what_the_model_cannot_answer(tmp_path, tiny, overrides, words):
    run(tiny, tmp_path / "r")
    with pytest.raises(UsageError) as e:
        build_eval_tasks(checkpoint.load(tmp_path / "r"), overrides)
    assert words in e.value.message


def test_fewer_ways_and_other_data(tmp_path, tiny_tree):
    recipe = recipe_from_dict(image_tree(tiny_tree, "lstm"), "x")
    run(recipe, tmp_path / "r")
    saved = checkpoint.load(tmp_path / "r")
    _, tasks = build_eval_tasks(saved, ["task.ways=2", "task.shots=3"])
    episode = tasks.batch("test", 0, 4)
    output = compute_output(saved.build_model(), episode)
    assert tasks.logits(output, episode).shape == (4, 4, 2)
    with pytest.raises(UsageError, match="predicts one of 3, but these tasks need one of 4"):
        build_eval_tasks(saved, ["task.ways=4"])
    assert build_eval_tasks(saved, ["task.name=omniglot"])[0].task.ways == 3
    with pytest.raises(UsageError, match="'independent', not 'stream'"):
        build_eval_tasks(saved, ["task.protocol=stream"])


def test_held_out_accuracy_on_classes_seen_in_training_is_refused(tmp_path, tiny_tree):
    """Whether or not anything is overridden: what counts is what the checkpoint recorded."""
    tree = image_tree(tiny_tree, "lstm")
    run(recipe_from_dict(tree, "x"), tmp_path / "r")
    saved = checkpoint.load(tmp_path / "r")
    build_eval_tasks(saved, ["task.classes=24", "task.test_classes=9"])  # other test classes, none of them seen
    seen = saved.provenance.classes["train"]
    assert len(seen) == 12
    cls = resolve(TASKS, "strokes", "task")
    for overrides in ([], ["task.shots=2"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cls, "class_digests", lambda self, split: dict(list(seen.items())[:3]))
            with pytest.raises(UsageError, match="the model was trained on 3 classes of this test split"):
                build_eval_tasks(saved, overrides)
            build_eval_tasks(saved, overrides, "train")  # asked for by name


def test_learning_rate_rises_then_falls():
    cfg = TrainConfig(steps=100, lr=1.0, warmup=10, schedule="cosine")
    rates = [cfg.learning_rate(s) for s in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)
    assert cfg.model_copy(update={"schedule": "constant"}).learning_rate(70) == 1.0


def test_clip_by_value_then_norm():
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[30.0, -4.0]])
    norm = clip_gradients(layer, TrainConfig(clip_value=3.0, clip_norm=1.0))
    assert norm == pytest.approx(math.sqrt(18))
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[0.5**0.5, -(0.5**0.5)]]))


def test_interval_is_that_of_the_mean():
    values = np.array([1.0, 2.0, 4.0, np.nan])
    mean, ci95 = mean_ci95(values)
    assert mean == pytest.approx(7 / 3)
    assert ci95 == pytest.approx(4.303 * np.std([1, 2, 4], ddof=1) / np.sqrt(3), rel=1e-3)
    assert math.isnan(mean_ci95(np.array([5.0]))[1])


def test_equal_values_have_no_interval():
    for values in ([1.0, 1.0], [0.1] * 1000, [2.0, 2.0, np.nan]):
        mean, ci95 = mean_ci95(np.array(values))
        assert (mean, math.isnan(ci95)) == (values[0], True)


@pytest.mark.parametrize(
    ("freedom", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (29, 2.045), (99, 1.984), (999, 1.962)],
)
def test_students_t(freedom, t):
    assert student_t(freedom) == pytest.approx(t, abs=1e-3)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """Of five tasks: 95 of 100 times, where 1.96 would hold it 88 times."""
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    inside = [abs(mean) <= half for mean, half in map(mean_ci95, draws)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)


def test_flat(tiny):
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
