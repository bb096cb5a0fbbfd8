"""Few-shot regression and classification of plain vectors: tasks that own their answers, through the whole tool."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch
from conftest import tiny_keys

from metacli.config import yaml_file
from metacli.registry import MODELS, TASKS, resolve
from metacli.tasks.clusters import Clusters
from metacli.tasks.sample import collect_samples
from metacli.tasks.sinusoid import Sinusoid


def test_points_lie_on_the_wave_that_is_drawn() -> None:
    tasks = Sinusoid(Sinusoid.Config(shots=5, queries=30), 3)
    for sample in collect_samples(tasks, "test", 8):
        assert sample.curve is not None
        x = np.concatenate([sample.x_train, sample.x_test])[:, 0]
        y = np.concatenate([sample.y_train[:, 0], sample.y_test[:, 0]])
        assert (np.abs(x) <= 5).all()
        np.testing.assert_allclose(np.interp(x, *sample.curve.T), y, atol=0.01 * 5)
        amplitude = np.abs(sample.curve[:, 1]).max()
        assert 0.09 < amplitude <= 5
        assert (sample.y_train[:, 1] == 1).all()


def test_the_best_constant_is_no_worse_than_others_and_the_baseline_is_its_error() -> None:
    tasks = Sinusoid(Sinusoid.Config(shots=1, queries=40), 0)
    episode = tasks.batch("test", 0, 4000)
    best = tasks.score(torch.zeros(4000, 40, 1), episode)["best_constant"]
    for guess in (-1.0, 0.0, 0.3):
        error = tasks.score(torch.full((4000, 40, 1), guess), episode)["squared_error"]
        assert (best <= error + 1e-5).all()
        assert error.mean().item() > tasks.baseline["squared_error"] - 0.15  # of one constant for all tasks
    mean = float(episode.y_test.mean())
    error = tasks.score(torch.full((4000, 40, 1), mean), episode)["squared_error"].mean().item()
    assert error == pytest.approx(tasks.baseline["squared_error"], rel=0.05)


def test_every_cluster_is_shown_and_asked_in_random_order() -> None:
    c = Clusters.Config(ways=4, shots=2, queries=3, width=5, noise=0.1)
    episode = Clusters(c, 0).batch("train", 0, 50)
    label = episode.y_train.argmax(-1)
    assert (torch.nn.functional.one_hot(label).sum(1) == 2).all()
    assert (torch.nn.functional.one_hot(episode.y_test[..., 0]).sum(1) == 3).all()
    assert label[:, 0].unique().numel() == 4
    for b in range(50):  # an item is nearer to one of its own class than to any of another
        distance = torch.cdist(episode.x_test[b], episode.x_train[b])
        own = episode.y_test[b] == label[b][None]
        assert distance[own].max() <= 0.2 * 5**0.5 + 1e-5


@pytest.mark.parametrize("task", ["sinusoid", "clusters"])
def test_an_episode_does_not_depend_on_its_batch(task: str) -> None:
    tasks = Sinusoid(Sinusoid.Config(), 1) if task == "sinusoid" else Clusters(Clusters.Config(), 1)
    many, one = tasks.batch("val", 3, 5), tasks.batch("val", 5, 1)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(many, name)[2], getattr(one, name)[0])


@pytest.mark.parametrize("task", ["sinusoid", "gp", "linear", "clusters"])
def test_the_whole_tool_serves_it(cli, tmp_path, task: str) -> None:
    model = {"name": "lstm", "hidden": 16, "layers": 1}
    train = {"steps": 4, "batch": 4, "eval_tasks": 5, "log_every": 1}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump({"task": {"name": task}, "model": model, "train": train}))
    shown = cli("sample-tasks", "r.yaml", "--png", "s.png", "--npz", "s.npz")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert ("the true function" in shown.stdout) == (task in ("sinusoid", "gp"))
    trained = cli("train", "r.yaml", "--run-dir", "run")
    assert trained.returncode == 0, trained.stderr
    headline = {"sinusoid": "squared error", "gp": "loss", "linear": "above optimum", "clusters": "accuracy"}[task]
    assert (f"chance  {headline}" in trained.stderr) == (task in ("sinusoid", "clusters"))
    result = json.loads(cli("eval", "-c", "run", "--tasks", "20", "--json").stdout)
    name = headline.replace(" ", "_")
    mean = np.mean([t[name] for t in result["tasks"]])
    assert result[f"d_test_{name}"]["mean"] == pytest.approx(mean, rel=1e-5)
    assert ("d_test_accuracy" in result) == (task == "clusters")
    assert result["metrics"][name]["better"] == ("higher" if task == "clusters" else "lower")
    if task == "sinusoid":
        assert result["d_test_best_constant"]["ci95"] > 0
    inspected = cli("inspect-memory", "-c", "run", "--out", "look")
    assert inspected.returncode == 0, inspected.stderr
    assert ("answers correct" if task == "clusters" else "mean squared error") in inspected.stdout
    assert ("mean ± 2 scales" in inspected.stdout) == (task == "gp")
    assert max(map(len, inspected.stdout.splitlines())) <= 80


def test_a_model_of_real_numbers_answers_no_labels(cli, tmp_path) -> None:
    tree = {
        "task": {"name": "sinusoid"},
        "model": {"name": "lstm", "hidden": 8},
        "train": {"steps": 1, "eval_tasks": 1},
    }
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tree))
    assert cli("train", "r.yaml", "--run-dir", "run").returncode == 0
    refused = cli("eval", "-c", "run", "task.name=clusters", "task.ways=2", "task.width=1")
    assert refused.returncode == 2
    assert "1 real number, but these tasks need one of 2" in refused.stderr


def test_convolutions_of_vectors_are_refused(cli, tmp_path) -> None:
    (tmp_path / "r.yaml").write_text(
        "# x\n" + yaml_file.dump({"task": {"name": "clusters"}, "model": {"name": "snail"}})
    )
    refused = cli("train", "r.yaml")
    assert refused.returncode == 2
    assert "conv needs images" in refused.stderr


def test_every_model_has_a_recipe_of_each_kind_of_answer() -> None:
    from metacli.config.recipe import load_recipe, recipes_folder

    recipes = [load_recipe(str(p)) for p in recipes_folder().glob("*.yaml")]
    for task, model in product(("sinusoid", "linear", "gp"), MODELS):
        task_cls, cls = resolve(TASKS, task, "task"), resolve(MODELS, model, "model")
        tasks = {r.task.name for r in recipes if r.model.name == model}
        config = cls.Config.model_validate(tiny_keys(model))
        serves = cls.check_compatible(config, task_cls.spec_of(task_cls.Config())) is None
        assert (task in tasks) == serves, f"no recipe {task}_{model}.yaml"
