"""`eval --baseline`: class means on the encoder of a run and on the bundled one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_cli import inside

import metacli
from metacli.checkpoints import bundled, checkpoint
from metacli.evaluation import baseline
from metacli.registry import TASKS, build


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An LSTM on images of 28 pixels, trained for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "lstm"
    task = {"name": "strokes", "classes": 24, "val_classes": 20, "test_classes": 20, "size": 28, "shots": 2}
    encoder = {"kind": "conv", "channels": 4, "size": 6}
    train = {"steps": 2, "batch": 2, "eval_tasks": 2}
    tree = {"name": "x", "task": task, "model": {"name": "lstm", "hidden": 4, "layers": 1, "encoder": encoder}}
    metacli.train({**tree, "train": train}, run_dir=folder, quiet=True)
    return folder


def accuracy_of_class_means(encoder, tasks, count: int) -> float:
    correct = []
    for i in range(count):
        episode = tasks.batch("test", i, 1)
        with torch.no_grad():
            x, query = (encoder(part)[0].numpy() for part in (episode.x_train, episode.x_test))
        label = episode.y_train[0].argmax(-1).numpy()
        means = [x[label == n].mean(0) for n in range(5)]
        answers = [np.argmax([q @ mean / np.linalg.norm(mean) for mean in means]) for q in query]
        correct.append(np.mean(answers == episode.y_test[0, :, 0].numpy()))
    return float(np.mean(correct))


def test_baselines_are_cosines_to_class_means_on_the_same_tasks(run, monkeypatch, capsys):
    code, out, err = inside(monkeypatch, capsys, "eval", run, "--baseline", "--tasks", "12", "--json")
    assert code == 0, err
    rows = json.loads(out)["models"]
    names = [(row["checkpoint"], row["model"]) for row in rows]
    assert names == [(str(run), "lstm"), (str(run), "class means"), (baseline.ENCODER, "class means")]
    recipe = checkpoint.load(run).recipe
    tasks = build(TASKS, recipe.task, recipe.seed)
    for row, path in zip(rows[1:], (run, bundled.bundled_file(baseline.ENCODER)), strict=True):
        expected = accuracy_of_class_means(checkpoint.load(path).build_model().encoder, tasks, 12)
        assert row["d_test_accuracy"]["mean"] == pytest.approx(expected, abs=1e-5)
        difference = row["d_test_accuracy"]["mean"] - rows[0]["d_test_accuracy"]["mean"]
        assert row["difference"]["mean"] == pytest.approx(difference, abs=2e-6)


def test_images_of_another_size_have_no_baseline_on_the_bundled_encoder(tmp_path, tiny_tree, monkeypatch, capsys):
    task = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3}
    metacli.train(tiny_tree | {"name": "x", "task": task}, run_dir=tmp_path / "r", quiet=True)
    code, out, err = inside(monkeypatch, capsys, "eval", tmp_path / "r", "--baseline", "--tasks", "4")
    assert code == 0, err
    assert out.count("class means") == 1
    assert "note: no baseline on the encoder of omniglot_60w1s_transformer: it reads images of shape" in err


def test_tasks_other_than_images_have_no_baseline(tmp_path, tiny_tree, monkeypatch, capsys):
    metacli.train(tiny_tree | {"name": "x", "task": {"name": "clusters"}}, run_dir=tmp_path / "r", quiet=True)
    code, _, err = inside(monkeypatch, capsys, "eval", tmp_path / "r", "--baseline")
    assert code == 2
    assert "clusters has no classes of images" in err
    assert "hint: " in err
