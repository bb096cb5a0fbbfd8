"""A run that goes on by another number of steps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from metacli.checkpoints import checkpoint
from metacli.config.recipe import recipe_from_dict
from metacli.errors import UsageError
from metacli.runs.directory import RunDirectory
from metacli.runs.extend import with_new_schedule
from metacli.runs.resume import recipe_to_resume
from metacli.training.loop import train
from metacli.training.progress import Progress
from metacli.training.run import RunPlan

CPU = torch.device("cpu")


def run(recipe, path, resume=False):
    return train(recipe, RunPlan(None, path) if resume else RunPlan(path), CPU, Progress(quiet=True), 1)


def timeless(path):
    log = RunDirectory(path).read_metrics()
    return [{k: v for k, v in line.items() if k not in ("seconds", "episodes_per_s")} for line in log]


def with_train(recipe, **keys):
    return replace(recipe, train=recipe.train.model_copy(update=keys))


def test_an_extended_run_is_one_that_was_as_long_from_its_beginning(tmp_path, tiny):
    run(with_train(tiny, steps=12), tmp_path / "long")
    run(tiny, tmp_path / "short")
    longer = recipe_to_resume(tmp_path / "short", None, ["train.steps=12"])
    assert run(longer, tmp_path / "short", resume=True).step == 12
    for name in ("last.safetensors", "best.safetensors"):
        one, two = checkpoint.load(tmp_path / "long" / name), checkpoint.load(tmp_path / "short" / name)
        assert (one.step, one.best) == (two.step, two.best)
        assert all(torch.equal(one.model[k], two.model[k]) for k in one.model)
    assert timeless(tmp_path / "long") == timeless(tmp_path / "short")
    assert (tmp_path / "long/recipe.yaml").read_bytes() == (tmp_path / "short/recipe.yaml").read_bytes()
    told = json.loads((tmp_path / "short" / "env.json").read_text())["changes"]
    assert told == [{"step": 6, "keys": {"train.steps": [6, 12]}, "lr": [1e-3, 1e-3]}]
    again = run(recipe_to_resume(tmp_path / "short", None, []), tmp_path / "short", resume=True)
    assert (again.step, again.finished) == (12, True)


def test_a_cosine_goes_on_by_the_new_length_and_says_so(tmp_path, tiny, capsys):
    cosine = with_train(tiny, schedule="cosine")
    run(cosine, tmp_path / "r")
    longer = recipe_to_resume(tmp_path / "r", None, ["train.steps=12"])
    train(longer, RunPlan(resume=tmp_path / "r"), CPU, Progress(), 1)
    told = capsys.readouterr().err
    assert "changed train.steps from 6 to 12" in told
    assert "rate    1e-05 at the next step with the old length, 0.000505 with the new" in told
    rates = [line["lr"] for line in RunDirectory(tmp_path / "r").read_metrics()]
    assert rates[:6] == [cosine.train.learning_rate(step) for step in range(6)]
    assert rates[6:] == [longer.train.learning_rate(step) for step in range(6, 12)]


def test_a_crash_between_the_two_files_is_told_of_once(tmp_path, tiny, monkeypatch):
    run(tiny, tmp_path / "r")
    longer = with_train(tiny, steps=8)
    told = {"step": 6, "keys": {"train.steps": [6, 8]}, "lr": [1e-3, 1e-3]}
    environment = RunDirectory(tmp_path / "r").read_environment() | {"changes": [told]}
    (tmp_path / "r" / "env.json").write_text(json.dumps(environment))
    run(longer, tmp_path / "r", resume=True)
    assert RunDirectory(tmp_path / "r").read_environment() == environment
    assert RunDirectory.open(tmp_path / "r")[1] == longer


def test_an_unfinished_run_can_be_shortened_to_what_is_done(tmp_path, tiny):
    run(tiny, tmp_path / "r")
    RunDirectory(tmp_path / "r").change_recipe(
        with_train(tiny, steps=60), {}
    )  # as a run of 60 steps that was stopped at 6
    outcome = run(recipe_to_resume(tmp_path / "r", None, ["train.steps=6"]), tmp_path / "r", resume=True)
    assert (outcome.step, outcome.finished, outcome.stopped) == (6, True, "")


def test_what_cannot_change_is_named(tiny_tree):
    recipe = recipe_from_dict({"name": "t", **tiny_tree}, "t")
    free = ["train.steps=7", "train.eval_every=2", "train.checkpoint_every=9", "train.log_every=2", "train.patience=3"]
    assert with_new_schedule(recipe, free, "r").train.patience == 3
    with pytest.raises(UsageError) as e:
        with_new_schedule(recipe, [*free, "train.batch=5", "model.hidden=9", "name=x"], "r")
    assert e.value.message.splitlines()[1:] == [
        "model.hidden: 8 in the run, 9 now",
        "name: t in the run, x now",
        "train.batch: 4 in the run, 5 now",
    ]
    with pytest.raises(UsageError, match="unknown key"):
        with_new_schedule(recipe, ["train.stepz=3"], "r")
