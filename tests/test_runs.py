"""`metacli runs`: the runs in a folder with their state, and the recipe keys in which runs differ."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from test_cli import inside

import metacli
from metacli.runs.listing import find_runs, summarize_run
from metacli.system.lock import DirectoryLock, is_held


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs of one recipe in `runs`, the second with other settings and stopped before its last step."""
    place = tmp_path_factory.mktemp("listed")
    tree = {
        "name": "rings",
        "task": {"name": "clusters", "ways": 3, "shots": 1, "queries": 2},
        "model": {"name": "lstm", "hidden": 8},
        "train": {"steps": 4, "batch": 4, "eval_every": 2, "eval_tasks": 6, "log_every": 1},
    }
    metacli.train(tree, run_dir=place / "runs" / "rings" / "a", quiet=True)
    metacli.train(tree, "seed=1", "train.lr=0.003", run_dir=place / "runs" / "rings" / "b", quiet=True)
    recipe = place / "runs" / "rings" / "b" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 4", "steps: 9"))
    return place


def test_runs_are_listed_with_step_score_and_state(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    code, out, _ = inside(monkeypatch, capsys, "runs", "--json")
    assert code == 0
    rows = {row["run"]: row for row in json.loads(out)}
    assert {name: row["state"] for name, row in rows.items()} == {"runs/rings/a": "finished", "runs/rings/b": "stopped"}
    a = rows["runs/rings/a"]
    assert (a["recipe"], a["seed"], a["step"], a["steps"]) == ("rings", 0, 4, 4)
    assert a["best"].keys() == {"step", "metric", "unit", "mean", "ci95", "n_tasks"}
    code, out, _ = inside(monkeypatch, capsys, "runs", "runs/rings")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "4/9" in out
    assert json.loads(inside(monkeypatch, capsys, "runs", "runs/rings/a", "--json")[1]) == [a]


def test_a_held_lock_means_running(folder):
    path = folder / "runs" / "rings" / "a"
    assert not is_held(path)
    lock = DirectoryLock(path)
    try:
        assert is_held(path)
        assert summarize_run(path).state == "running"
    finally:
        lock.release()
    assert summarize_run(path).state == "finished"


def test_the_lock_of_a_killed_process_is_not_held(tmp_path):
    code = "import os, pathlib, metacli.system.lock as m; x = m.DirectoryLock(pathlib.Path('.')); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert (tmp_path / ".lock").exists()
    assert not is_held(tmp_path)
    DirectoryLock(tmp_path).release()


def test_recipes_are_compared_key_by_key(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder / "runs" / "rings")
    code, out, _ = inside(monkeypatch, capsys, "runs", "a", "b", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["runs"] == ["a", "b"]
    assert found["keys"] == {"seed": [0, 1], "train.lr": [0.001, 0.003], "train.steps": [4, 9]}
    code, out, _ = inside(monkeypatch, capsys, "runs", "a", "b")
    assert code == 0
    assert [line.split() for line in out.splitlines()][1:] == [
        ["seed", "0", "1"], ["train.lr", "0.001", "0.003"], ["train.steps", "4", "9"],
    ]  # fmt: skip
    assert "equal" in inside(monkeypatch, capsys, "runs", "a", "a")[1]
    assert inside(monkeypatch, capsys, "runs", "a", "nowhere")[0] == 2


def test_a_damaged_run_is_left_out_with_a_note(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "x").mkdir(parents=True)
    code, _, err = inside(monkeypatch, capsys, "runs")
    assert code == 2
    assert "runs holds no run" in err
    (tmp_path / "runs" / "x" / "recipe.yaml").write_text("task: [")
    code, _, err = inside(monkeypatch, capsys, "runs")
    assert code == 2
    assert "note: left out runs/x: " in err
    code, _, err = inside(monkeypatch, capsys, "runs", "missing")
    assert code == 2
    assert "no folder missing" in err
    assert len(find_runs(folder)) == 2
