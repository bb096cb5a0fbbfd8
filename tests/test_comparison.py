"""Several models on the same tasks, and the learning curves of several runs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import tiny_keys
from PIL import Image
from rich.console import Console
from test_cli import inside

import metacli
from metacli.runs.learning_curves import load_curve
from metacli.show.curves import average_validations, group_seeds, sparkline


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two models of one task, trained for a moment."""
    place = tmp_path_factory.mktemp("runs")
    tree = {
        "task": {"name": "clusters", "ways": 3, "shots": 1, "queries": 2},
        "train": {"steps": 8, "batch": 4, "eval_every": 2, "eval_tasks": 6, "log_every": 1},
    }
    for name, model in (("a", {"name": "lstm", "hidden": 8}), ("b", tiny_keys("transformer"))):
        metacli.train({"name": name, **tree, "model": model}, run_dir=place / name, quiet=True)
    return place


def test_models_are_compared_task_by_task(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    code, out, _ = inside(monkeypatch, capsys, "eval", "-c", "a", "-c", "b", "-c", "a", "--tasks", "40", "--json")
    assert code == 0
    found = json.loads(out)
    first, second, again = found["models"]
    a, b = (metacli.evaluate(runs / name, n_tasks=40).values["accuracy"] for name in "ab")
    score = first["d_test_accuracy"]
    assert score["mean"] == pytest.approx(a.mean(), rel=1e-5)
    assert (score["metric"], score["unit"], score["n_tasks"]) == ("accuracy", "%", 40)
    assert (b - a).std() > 0
    assert second["difference"]["mean"] == pytest.approx((b - a).mean(), rel=1e-5)
    half = 2.0227 * (b - a).std(ddof=1) / np.sqrt(40)  # Student's t of 39 degrees of freedom
    assert second["difference"]["ci95"] == pytest.approx(half, rel=1e-3)
    assert (again["difference"]["mean"], again["difference"]["ci95"]) == (0, None)
    assert first["difference"] is None
    assert found["n_tasks"] == 40


def test_an_interval_that_says_nothing_is_left_out(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    code, out, err = inside(monkeypatch, capsys, "eval", "b", "--tasks", "1", "--json")
    score = json.loads(out)["d_test_accuracy"]
    assert (code, score["ci95"], score["n_tasks"]) == (0, None, 1)
    assert "note: no 95 % interval for accuracy, loss: there is only one task" in err
    code, out, err = inside(monkeypatch, capsys, "eval", "a", "a", "--tasks", "40")  # it always gives the same answer
    assert code == 0
    assert "note: no 95 % interval for accuracy of a: all 40 tasks have the same score" in err
    assert "note: no 95 % interval for a minus a: all 40 tasks have the same score" in err
    assert "±" not in out
    assert "*" not in out


def test_the_table_is_whole_and_the_picture_is_drawn(runs, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(runs)
    given = ("eval", "-c", "a", "-c", "b", "--tasks", "10", "--png", "c.png")
    code, out, _ = inside(monkeypatch, capsys, *given)
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "minus the first" in out
    assert Image.open(runs / "c.png").size[0] > 500


def test_others_than_the_same_kind_of_tasks_are_refused(runs, tiny_file, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    metacli.train(tiny_file, run_dir=runs / "copy", quiet=True)
    code, _, err = inside(monkeypatch, capsys, "eval", "-c", "a", "-c", "copy")
    assert code == 2
    assert err.startswith("error: ")
    code, _, err = inside(monkeypatch, capsys, "curves", "a", "copy")
    assert code == 2
    assert "different metrics" in err


def test_curves_are_what_the_log_says(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    code, out, _ = inside(monkeypatch, capsys, "curves", "a", "b", "--json")
    assert code == 0
    found = json.loads(out)
    log = [json.loads(line) for line in (runs / "a" / "metrics.jsonl").read_text().splitlines()]
    val = [(r["step"], pytest.approx(r["val"]["accuracy"], rel=1e-5)) for r in log if "val" in r]
    assert [(row["step"], row["mean"]) for row in found[0]["val"]] == val
    train = [(r["step"], pytest.approx(r["accuracy"], rel=1e-5)) for r in log]
    assert [(row["step"], row["mean"]) for row in found[0]["train"]] == train
    assert found[0]["best"]["mean"] == max(row["mean"] for row in found[0]["val"])
    assert found[0]["val"][0].keys() == {"step", "metric", "unit", "mean", "ci95", "n_tasks"}
    assert (found[0]["val"][0]["n_tasks"], found[0]["train"][0]["n_tasks"]) == (6, 4)
    code, out, _ = inside(monkeypatch, capsys, "curves", "a", "b")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines())


def test_curves_are_saved_as_csv(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    code, out, _ = inside(monkeypatch, capsys, "curves", "a", "b", "--csv", "c.csv", "--json")
    assert code == 0
    with open("c.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    plain = [(c["run"], split, row) for c in json.loads(out) for split in ("val", "train") for row in c[split]]
    assert len(rows) == len(plain)
    for row, (run, split, point) in zip(rows, plain, strict=True):
        assert (row["run"], row["split"], row["metric"], row["ci95"]) == (run, split, "accuracy", "")
        assert (int(row["step"]), float(row["mean"]), int(row["n_tasks"])) == (
            point["step"],
            point["mean"],
            point["n_tasks"],
        )


def test_seeds_of_a_recipe_become_a_mean_and_a_range(runs):
    a = load_curve(runs / "a")
    seeds = []
    for seed, scores in enumerate(([1.0, 2.0, 4.0], [3.0, 2.0], [2.0, 5.0, 6.0])):
        val = np.column_stack([[2, 4, 6][: len(scores)], scores])
        recipe = replace(a.recipe, seed=seed)
        seeds.append(replace(a, recipe=recipe, val=val))
    assert [len(group) for group in group_seeds([*seeds, load_curve(runs / "b")])] == [3, 1]
    np.testing.assert_allclose(average_validations(seeds), [[2, 2, 1, 3], [4, 3, 2, 5]])
    assert average_validations(seeds[:1]) is None
    assert average_validations([seeds[0], replace(seeds[1], val=np.zeros((0, 2)))]) is None
    pytest.importorskip("matplotlib")
    from metacli.show.curves import save_curves

    save_curves(runs / "band.png", [*seeds, load_curve(runs / "b")])
    assert Image.open(runs / "band.png").size[0] > 500


def test_curves_are_drawn(runs):
    pytest.importorskip("matplotlib")
    from metacli.show.curves import print_curves, save_curves

    found = [load_curve(runs / name) for name in "ab"]
    save_curves(runs / "curves.png", found)
    assert Image.open(runs / "curves.png").size[0] > 500
    print_curves(Console(width=80), found)


def test_a_sparkline_rises_as_its_values_do():
    assert sparkline(np.linspace(0, 1, 7), 0, 1) == "▁▂▃▅▆▇█"
    assert sparkline(np.full(3, 0.5), 0.5, 0.5) == "▁▁▁"
    assert len(sparkline(np.arange(1000.0), 0, 999)) == 22
    assert sparkline(np.zeros(0), 0, 1) == ""


def test_no_run_is_said(monkeypatch, capsys, tmp_path):
    code, _, err = inside(monkeypatch, capsys, "curves", tmp_path)
    assert code == 2
    assert "not a run directory" in err
