"""The names on `metacli`: the verbs as functions give what the command line gives."""

from __future__ import annotations

import ast
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import metacli
from metacli.checkpoints import checkpoint
from metacli.training import loop

ROOT = Path(metacli.__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run on tasks with classes."""
    tree = {
        "task": {"name": "clusters"},
        "model": {"name": "transformer", "width": 48, "layers": 1, "init": "content"},
        "train": {"steps": 4, "batch": 4, "eval_every": 2, "eval_tasks": 5, "checkpoint_every": 2},
    }
    return metacli.train(tree, "seed=3", run_dir=tmp_path_factory.mktemp("runs") / "r", quiet=True, threads=1).run


def test_every_name_is_there_and_told_to_type_checkers():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {
        name.asname: f"{line.module}:{name.name}"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for name in line.names
    }
    assert told == metacli._HOME
    assert not {module.name for module in pkgutil.iter_modules([str(ROOT)])} & metacli._HOME.keys()
    for name in metacli._HOME:
        assert getattr(metacli, name).__doc__, name
    assert metacli._HOME.keys() <= set(dir(metacli))


def test_importing_is_quick():
    code = (
        "import time; t = time.process_time(); import metacli; s = time.process_time() - t; import sys; "
        "print(any(m in sys.modules for m in ('torch', 'numpy', 'pydantic', 'yaml')), s)"
    )
    heavy, seconds = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert heavy == "False"
    assert float(seconds) < 0.1


def test_recipes_by_name_path_dictionary_and_recipe(tmp_path, tiny_tree, tiny_file):
    by_path = metacli.load_recipe(tiny_file, "train.lr=1e-2")
    by_dict = metacli.load_recipe({**tiny_tree, "name": "tiny"}, "train.lr=1e-2")
    assert by_path == by_dict == metacli.load_recipe(metacli.load_recipe(str(tiny_file)), "train.lr=1e-2")
    assert (by_path.name, by_path.train.lr, metacli.load_recipe(tiny_tree).name) == ("tiny", 0.01, "recipe")
    assert "lr" not in tiny_tree["train"]
    with pytest.raises(metacli.MetacliError, match="did you mean 'copy_ntm'"):
        metacli.load_recipe("copy_ntn")
    with pytest.raises(metacli.MetacliError, match="not KEY=VALUE"):
        metacli.load_recipe("smoke", "train.steps")
    assert {e.model for e in metacli.list_recipes("snail")} == {"snail"}


@pytest.mark.parametrize("name", ["smoke", "strokes_ntm"])
def test_episodes_are_the_batches_in_order(name):
    tasks = metacli.build_tasks(name)
    found = list(tasks.episodes("val", batch=4, first=3, count=10))
    assert [len(e) for e in found] == [4, 4, 2]
    assert torch.cat([e.index for e in found]).tolist() == list(range(3, 13))
    assert torch.equal(found[1].x_train[:1], tasks.batch("val", 7, 1).x_train) or name == "smoke"
    assert len(next(tasks.episodes())) == 1
    for wrong in ({"split": "tset"}, {"batch": 0}, {"first": -1}):
        with pytest.raises(ValueError, match="batch"):
            next(tasks.episodes(**wrong))


def test_a_model_is_built_as_training_begins(tiny):
    from metacli.training.state import TrainState

    torch.manual_seed(7)
    state = torch.get_rng_state()
    model = metacli.build_model(tiny)
    assert torch.equal(torch.get_rng_state(), state)
    first = TrainState.build(tiny, torch.device("cpu")).model.state_dict()
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())


def test_training_leaves_the_process_as_it_was(tmp_path, tiny, capfd):
    torch.manual_seed(11)
    state, threads, handler = torch.get_rng_state(), torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    outcome = metacli.train(tiny, run_dir=tmp_path / "r", quiet=True, threads=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert bool(torch.tensor(1e-40) * 1 != 0)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (outcome.step, outcome.run) == (6, tmp_path / "r")
    assert capfd.readouterr() == ("", "")
    metacli.train(tiny, run_dir=tmp_path / "loud", threads=1)
    heard = capfd.readouterr()
    assert heard.out == ""
    assert "chance  " in heard.err


def test_the_same_run_as_that_of_the_command_line(tmp_path, tiny_file, cli):
    assert cli("train", tiny_file, "--run-dir", "theirs", "--threads", "1").returncode == 0
    metacli.train(tiny_file, run_dir=tmp_path / "ours", quiet=True, threads=1)
    ours, theirs = (metacli.load_model(tmp_path / name).state_dict() for name in ("ours", "theirs"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    scores = metacli.evaluate(tmp_path / "ours", n_tasks=30)
    told = json.loads(cli("eval", "-c", "theirs", "--tasks", "30", "--json", "--threads", "1").stdout)
    assert [task["accuracy"] for task in told["tasks"]] == pytest.approx(scores.values["accuracy"], rel=1e-5)
    assert told[scores.metric.key]["mean"] == pytest.approx(scores.mean, rel=1e-5)
    assert told[scores.metric.key]["ci95"] == pytest.approx(scores.ci95, rel=1e-5)


def test_stopping_saves_then_does_what_the_signal_means(tmp_path, tiny, monkeypatch):
    step = loop.train_step

    def interrupted(state, share, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step(state, share, number)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        metacli.train(tiny, run_dir=tmp_path / "r", quiet=True, threads=1)
    monkeypatch.undo()
    outcome = metacli.train(resume=tmp_path / "r", quiet=True, threads=1)
    assert outcome.step == 6
    whole = metacli.train(tiny, run_dir=tmp_path / "whole", quiet=True, threads=1).run
    one, other = (checkpoint.load(path / "last.safetensors").model for path in (outcome.run, whole))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_in_a_thread(tmp_path, tiny):
    found: list[int] = []
    work = threading.Thread(
        target=lambda: found.append(metacli.train(tiny, run_dir=tmp_path / "r", quiet=True, threads=1).step)
    )
    work.start()
    work.join()
    assert found == [6]


def test_wrong_calls_of_train(tmp_path, tiny):
    with pytest.raises(TypeError, match="give a recipe"):
        metacli.train()
    with pytest.raises(TypeError, match="leave out run_dir"):
        metacli.train(resume=tmp_path, run_dir=tmp_path / "x")
    with pytest.raises(metacli.MetacliError, match="threads"):
        metacli.train(tiny, run_dir=tmp_path / "x", threads=0)
    with pytest.raises(metacli.MetacliError, match="unknown device"):
        metacli.train(tiny, device="warp")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(metacli.MetacliError, match="exists already"):
        metacli.train(tiny, run_dir=tmp_path / "full", quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_scores_of_a_run_and_of_its_model_are_the_same(run):
    scores = metacli.evaluate(run, n_tasks=40)
    assert scores.values["accuracy"].shape == (40,)
    assert scores.mean == pytest.approx(scores.values["accuracy"].mean())
    half = 2.0227 * scores.values["accuracy"].std(ddof=1) / np.sqrt(40)
    assert scores.ci95 == pytest.approx(half, rel=1e-3)
    assert str(scores).endswith("over 40 tasks")
    tasks = metacli.build_tasks(run / "recipe.yaml")
    model = metacli.load_model(run).train()
    again = metacli.evaluate(model, tasks=tasks, n_tasks=40)
    np.testing.assert_array_equal(again.values["loss"], scores.values["loss"])
    assert model.training, "left as it was"
    np.testing.assert_array_equal(metacli.evaluate(run, tasks=tasks, n_tasks=40).values["loss"], scores.values["loss"])
    fewer = metacli.evaluate(run, "task.ways=2", n_tasks=40)
    assert fewer.mean > scores.mean
    assert str(metacli.evaluate(run, n_tasks=1)).startswith("accuracy ")


def test_wrong_calls_of_evaluate_and_trace(run):
    tasks, model = metacli.build_tasks("smoke"), metacli.load_model(run)
    for call in (metacli.evaluate, metacli.trace):
        with pytest.raises(TypeError, match="has no task distribution of its own"):
            call(model)
        with pytest.raises(TypeError, match="either tasks or overrides"):
            call(run, "task.ways=2", tasks=tasks)
        with pytest.raises(ValueError, match="unknown split"):
            call(run, split="tset")
        with pytest.raises(metacli.MetacliError, match="tasks of the mode"):
            call(run, tasks=tasks)
        with pytest.raises(metacli.MetacliError, match="tasks of the mode"):
            call(model, tasks=tasks)
        with pytest.raises(metacli.MetacliError, match="3 logits, but these tasks need 5"):
            call(model, tasks=metacli.build_tasks(run / "recipe.yaml", "task.ways=5"))
        with pytest.raises(metacli.MetacliError, match="no checkpoint"):
            call("nonesuch")
    with pytest.raises(ValueError, match="n_tasks is 0"):
        metacli.evaluate(run, n_tasks=0)
    with pytest.raises(metacli.MetacliError, match="out of range"):
        metacli.trace(run, index=-1)


def test_a_trace_is_that_of_its_task(run):
    trace = metacli.trace(run, index=5)
    assert (trace.sample.index, trace.sample.split) == (5, "test")
    assert trace.steps == 3 + 6
    for head in trace.heads:
        np.testing.assert_allclose(head.weights.sum(1), 1, atol=1e-5)
    other = metacli.trace(metacli.load_model(run), tasks=metacli.build_tasks(run / "recipe.yaml"), index=5)
    np.testing.assert_array_equal(other.arrays["logits"], trace.arrays["logits"])


def test_held_out_tasks_do_not_depend_on_the_seed_of_the_run(run):
    recipe = metacli.load_recipe(run / "recipe.yaml")
    trained, other = metacli.build_tasks(recipe), metacli.build_tasks(metacli.load_recipe(recipe, "seed=4"))

    def first_inputs(tasks, split):
        return tasks.batch(split, 0, 3).x_test

    for split in ("val", "test"):
        assert first_inputs(trained, split).equal(first_inputs(other, split))
        assert not first_inputs(trained, split).equal(first_inputs(metacli.build_tasks(recipe, "seed=4"), split))
    assert not first_inputs(trained, "train").equal(first_inputs(other, "train"))
    scores, others = (metacli.evaluate(run, *overrides, n_tasks=5) for overrides in ((), ("seed=4",)))
    assert scores.values["loss"].tolist() != others.values["loss"].tolist()
