"""What every task distribution with a known optimum promises, and the optima against independent loops."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

import metacli
from metacli.inspect.inspection import measure_usage
from metacli.inspect.statistics import decode_statistics
from metacli.inspect.usage import print_usage
from metacli.models.trace import Trace
from metacli.registry import MODELS, TASKS, resolve
from metacli.show.results import print_evaluation
from metacli.tasks.optimum import OPTIMUM, OptimumTasks

NAMES = [name for name in TASKS if issubclass(resolve(TASKS, name, "task"), OptimumTasks)]


QUICK = {"gp": {"shots": 8}}  # keys of a distribution whose optimum takes long


def make(name, **keys):
    cls = resolve(TASKS, name, "task")
    return cls(cls.Config(**(QUICK.get(name, {}) | keys)))


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


def log_marginal(heads, tails, a, b):
    """The log probability of a given order of tosses, log B(a + heads, b + tails) - log B(a, b)."""
    return (
        math.lgamma(a + heads) + math.lgamma(b + tails) - math.lgamma(a + b + heads + tails)
        - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)
    )  # fmt: skip


PARAMETER = st.floats(0.05, 50)


@settings(max_examples=20, deadline=None)
@given(PARAMETER, PARAMETER, PARAMETER, PARAMETER, st.floats(0, 1))
def test_coin_optimum_against_marginal_probabilities(a, b, second_a, second_b, share):
    tasks = make("coin", a=a, b=b, second_a=second_a, second_b=second_b, second_share=share, length=12)
    episode = tasks.batch("val", 0, 2)
    costs, statistics = tasks.reference_costs(episode), tasks.statistics(episode)

    def probability(heads, tails):
        return (1 - share) * math.exp(log_marginal(heads, tails, a, b)) + share * math.exp(
            log_marginal(heads, tails, second_a, second_b)
        )

    for row, tosses in enumerate(episode.y_test[..., 0].tolist()):
        for t, toss in enumerate(tosses):
            heads, tails = sum(tosses[:t]), t - sum(tosses[:t])
            now = probability(heads, tails)
            mean, square = probability(heads + 1, tails) / now, probability(heads + 2, tails) / now
            assert costs["optimum"][row, t].item() == pytest.approx(-math.log(mean if toss else 1 - mean), abs=1e-4)
            assert statistics["heads"][row, t] == heads
            assert statistics["posterior_mean"][row, t].item() == pytest.approx(mean, abs=1e-5)
            assert statistics["posterior_variance"][row, t].item() == pytest.approx(square - mean**2, abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), PARAMETER)
def test_markov_optimum_against_a_loop_that_counts(n, alpha):
    tasks = make("markov", symbols=n, alpha=alpha, length=15)
    episode = tasks.batch("val", 0, 2)
    costs, statistics = tasks.reference_costs(episode), tasks.statistics(episode)
    for row, symbols in enumerate(episode.y_test[..., 0].tolist()):
        counts = np.zeros((n, n))
        assert costs["optimum"][row, 0].item() == pytest.approx(math.log(n), abs=1e-5)
        for t in range(1, len(symbols)):
            state, symbol = symbols[t - 1], symbols[t]
            predicted = (counts[state] + alpha) / (counts[state].sum() + n * alpha)
            assert costs["optimum"][row, t].item() == pytest.approx(-math.log(predicted[symbol]), abs=1e-4)
            for j in range(n):
                assert statistics[f"count_{j}"][row, t] == counts[state, j]
                assert statistics[f"probability_{j}"][row, t].item() == pytest.approx(predicted[j], abs=1e-5)
            unigram = (symbols[:t].count(symbol) + 1) / (t + n)
            assert costs["unigram"][row, t].item() == pytest.approx(-math.log(unigram), abs=1e-4)
            counts[state, symbol] += 1


def stream(tasks, symbols):
    """An episode of given symbols (B, T), otherwise as the task makes it."""
    return replace(
        tasks.batch("val", 0, len(symbols)),
        x_test=torch.eye(tasks.spec.out_size)[np.roll(symbols, 1, 1)] * (torch.arange(symbols.shape[1]) > 0)[:, None],
        y_test=torch.from_numpy(symbols)[..., None],
    )


def check_bounds(tasks, true_cost, symbols):
    """The true parameters cost less than the optimum, which costs as much here as on the task's own sequences."""
    here = tasks.reference_costs(stream(tasks, symbols))["optimum"].mean(1).numpy()
    own = tasks.reference_costs(tasks.batch("val", 0, len(symbols)))["optimum"].mean(1).numpy()
    assert (here - true_cost).mean() > 3 * (here - true_cost).std() / len(here) ** 0.5
    assert abs(here.mean() - own.mean()) < 4 * (here.var() / len(here) + own.var() / len(own)) ** 0.5


def test_coins_whose_bias_is_drawn_first_cost_the_same_and_more_than_with_the_bias_known():
    tasks, rng = (
        make("coin", a=2.0, b=0.7, second_share=0.4, second_a=30, second_b=20, length=30),
        np.random.default_rng(0),
    )
    bias = np.where(rng.random(1500) < 0.4, rng.beta(30, 20, 1500), rng.beta(2, 0.7, 1500))[:, None]
    tosses = (rng.random((1500, 30)) < bias).astype(np.int64)
    check_bounds(tasks, -np.log(np.where(tosses == 1, bias, 1 - bias)).mean(1), tosses)


def test_chains_whose_rows_are_drawn_first_cost_the_same_and_more_than_with_the_rows_known():
    tasks, rng = make("markov", symbols=3, alpha=0.6, length=30), np.random.default_rng(0)
    rows, every = rng.dirichlet([0.6] * 3, (1500, 3)), np.arange(1500)
    symbols = rng.integers(3, size=(1500, 30))
    cost = np.full(symbols.shape, math.log(3))
    for t in range(1, 30):
        p = rows[every, symbols[:, t - 1]]
        symbols[:, t] = (p.cumsum(1)[:, :2] < rng.random((1500, 1))).sum(1)
        cost[:, t] = -np.log(p[every, symbols[:, t]])
    check_bounds(tasks, cost.mean(1), symbols)


def test_add_one_is_left_out_where_it_is_the_optimum():
    assert make("coin").references == ("optimum", "prior_mean")
    assert make("coin", a=2.0).references == ("optimum", "add_one", "prior_mean")
    tasks = make("coin", second_share=1e-7)
    costs = tasks.reference_costs(tasks.batch("val", 0, 5))
    torch.testing.assert_close(costs["optimum"], costs["add_one"], rtol=1e-4, atol=1e-4)


def train_briefly(folder):
    model, train = {"name": "lstm", "hidden": 4, "layers": 1}, {"steps": 2, "batch": 4}
    recipe = {"task": {"name": "coin", "length": 8}, "model": model, "train": train}
    return metacli.train(recipe, run_dir=folder / "r", quiet=True, threads=1).run


def test_a_model_is_evaluated_on_other_priors_against_their_optimum(tmp_path):
    recipe = {"task": {"name": "coin", "length": 8}, "model": {"name": "lstm", "hidden": 4, "layers": 1}}
    run = metacli.train(
        {**recipe, "train": {"steps": 2, "batch": 4}}, run_dir=tmp_path / "r", quiet=True, threads=1
    ).run
    other = metacli.evaluate(run, "task.a=9", "task.b=1", n_tasks=50)
    tasks = make("coin", a=9, b=1, length=8)
    expected = tasks.reference_costs(tasks.batch("test", 0, 50))["optimum"].mean(1).numpy()
    np.testing.assert_allclose(other.values["optimum"], expected, rtol=1e-5)
    assert other.metric.name == "above_optimum"


# What the optimum knows, decoded from a state


class Reader(torch.nn.Module):
    """A model whose state is the statistics themselves, mixed linearly, and numbers that say nothing."""

    def __init__(self, config=None, spec=None):
        super().__init__()
        self.config, self.spec = config, spec
        self.mix = torch.nn.Linear(3, 3)

    def trace(self, episode):
        known = torch.stack(list(make("coin", length=10).statistics(episode).values()), -1)
        noise = torch.rand(*known.shape[:2], 4, generator=torch.Generator().manual_seed(int(episode.index[0])))
        state = noise if torch.equal(self.mix.bias, torch.zeros(3)) else torch.cat([self.mix(known), noise], -1)
        return Trace(known, {}, state=state)


def test_statistics_are_decoded_from_a_state_that_holds_them_and_from_no_other():
    tasks, model = make("coin", length=10), Reader(spec=make("coin", length=10).spec)
    rows = {row["statistic"]: row for row in decode_statistics(model, tasks, "test", 100)}
    assert list(rows) == ["heads", "posterior_mean", "posterior_variance"]
    assert all(row["n_tasks"] == 50 for row in rows.values())
    assert all(row["r2"] > 0.99 for row in rows.values())
    assert rows["heads"]["r2_by_query"][0] is None
    assert min(rows["heads"]["r2_by_query"][1:]) > 0.9
    torch.nn.init.zeros_(model.mix.bias)
    assert all(abs(row["r2"]) < 0.2 for row in decode_statistics(model, tasks, "test", 100))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_of_sequences_names_its_state(name):
    cls = resolve(MODELS, name, "model")
    tasks = make("markov", length=6)
    if "sequence" not in cls.modes:
        return
    model = cls(cls.Config.model_validate({"name": name, "encoder": {"kind": "flat"}, **cls.tiny}), tasks.spec)
    state = model.trace(tasks.batch("val", 0, 3)).state
    assert state.shape[:2] == (3, 6)
    longer = model.trace(replace(tasks.batch("val", 0, 3), x_test=tasks.batch("val", 0, 3).x_test[:, :4])).state
    torch.testing.assert_close(state[:, :4], longer)  # no step sees a later one


def test_the_statistics_of_a_model_without_memory_are_printed(tmp_path):
    run = train_briefly(tmp_path)
    summary = measure_usage(metacli.load_model(run), make("coin", length=8), "test", 16, lambda n: None)
    console = Console(file=io.StringIO(), width=80)
    print_usage(console, summary)
    text = console.file.getvalue()
    assert "posterior variance" in text
    assert "R^2 on 8 held-out tasks" in text
    assert all(len(line) <= 80 for line in text.splitlines())


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
