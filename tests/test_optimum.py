"""What every task distribution with a known optimum promises, and the optima against independent loops."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from metacli.registry import TASKS, resolve
from metacli.show.results import print_evaluation
from metacli.tasks.optimum import OPTIMUM, OptimumTasks

NAMES = [name for name in TASKS if issubclass(resolve(TASKS, name, "task"), OptimumTasks)]


def make(name, **keys):
    cls = resolve(TASKS, name, "task")
    return cls(cls.Config(**keys))


def random_logits(tasks, episode):
    g = torch.Generator().manual_seed(0)
    return torch.randn(*episode.y_test.shape[:2], tasks.spec.out_size, generator=g)


@pytest.mark.parametrize("name", NAMES)
class TestEveryOptimum:
    def test_no_reference_predictor_beats_the_optimum(self, name):
        tasks = make(name)
        costs = tasks.reference_costs(tasks.batch("val", 0, 500))
        assert next(iter(costs)) == OPTIMUM
        best = costs.pop(OPTIMUM).mean(1)
        assert costs
        for cost in costs.values():
            difference = cost.mean(1) - best
            assert difference.mean() > 2 * difference.std() / len(difference) ** 0.5

    def test_a_cost_depends_on_no_later_answer_and_on_no_other_task(self, name):
        tasks = make(name)
        episode = tasks.batch("val", 0, 3)
        changed = replace(episode, y_test=torch.cat([episode.y_test[:, :-1], 1 - episode.y_test[:, -1:]], 1))
        alone = tasks.batch("val", 2, 1)
        parts = [(tasks.reference_costs, (changed, alone)), (tasks.statistics, (changed, alone))]
        for function, (late, single) in parts:
            for key, values in function(episode).items():
                assert values.shape == episode.y_test.shape[:2]
                torch.testing.assert_close(function(late)[key][:, :-1], values[:, :-1])
                torch.testing.assert_close(function(single)[key][0], values[2])

    def test_scores_are_means_of_the_costs(self, name):
        tasks = make(name)
        episode = tasks.batch("val", 0, 4)
        logits = random_logits(tasks, episode)
        scores = tasks.score(logits, episode)
        assert {m.name for m in tasks.metrics} <= scores.keys()
        torch.testing.assert_close(scores["above_optimum"], scores["loss"] - scores[OPTIMUM])
        assert torch.equal(tasks.headline_score(logits, episode), scores[tasks.metrics[0].name])
        for key in ("loss", *tasks.references, "above_optimum"):
            curve = scores[f"{key}_by_examples_seen"]
            assert curve.shape == (4, tasks.spec.length)
            torch.testing.assert_close(curve.nanmean(1), scores[key], rtol=1e-4, atol=1e-5)


def test_eval_prints_and_draws_the_distance_from_the_optimum(cli, tmp_path):
    picture = tmp_path / "curves.png"
    args = ("eval", "dynamic_ngrams_ntm", "--tasks", "4", "task.length=20", "--threads", "1", "--json")
    result = json.loads(cli(*args, "--png", picture).stdout)
    console = Console(file=io.StringIO(), width=80)
    print_evaluation(console, result, make("dynamic-ngrams", length=20), 2)
    text = console.file.getvalue()
    assert "nats per bit above the Bayes-optimal predictor" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert [row["examples_seen"] for row in result["optimum_by_examples_seen"]] == list(range(20))
    means = {name: result[f"d_test_{name}"]["mean"] for name in ("above_optimum", "loss", "optimum")}
    assert means["above_optimum"] == pytest.approx(means["loss"] - means["optimum"], abs=1e-5)
    per_task = np.array([row["above_optimum"] for row in result["tasks"]])
    half = 3.18245 * per_task.std(ddof=1) / 2  # Student's t, 3 degrees of freedom
    assert result["d_test_above_optimum"]["ci95"] == pytest.approx(half, rel=1e-3)
    with Image.open(picture) as drawn:
        assert drawn.width > 800
