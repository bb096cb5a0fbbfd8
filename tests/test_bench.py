"""The benchmark's references are honest: the same numbers and gradients as ours, arithmetic counted right."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import torch

from metacli.config.recipe import recipe_from_dict
from metacli.episode import Episode, Spec
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from tests.bench import limit, peak
from tests.bench.__main__ import main
from tests.bench.case import Side
from tests.bench.cases import CASES
from tests.bench.growth import SWEEPS, exponent
from tests.bench.plain import like
from tests.bench.plain.sampling import sample
from tests.bench.plain.similarity import by_equation, by_torch
from tests.bench.timing import measure

STROKES = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3, "queries": 2}
STREAM = {**STROKES, "protocol": "stream", "length": 9}
COPY = {"name": "copy", "length": 4, "width": 3}
CONV = {"kind": "conv", "channels": 4, "size": 6}
MEMORY = {"hidden": 7, "locations": 9, "width": 5, "read_heads": 2}
PAIRS = {
    "ntm": (COPY, {"name": "ntm", **MEMORY, "write_heads": 2, "init": "content"}),
    "ntm-stream": (STREAM, {"name": "ntm", **MEMORY, "shift_range": 2}),
    "mann": (STREAM, {"name": "mann", **MEMORY}),
    "mann-paper": (STREAM, {"name": "mann", **MEMORY, "least_used": "shared", "erase": "one"}),
    "mann-shipped": (
        STREAM,
        {
            "name": "mann",
            **MEMORY,
            "encoder": {**CONV, "normalise": True},
            "strength": 10.0,
            "learn_strength": True,
            "write_vector": "separate",
            "init": "content",
        },
    ),
    "lstm": (STREAM, {"name": "lstm", "hidden": 7, "layers": 2}),
    "snail": (STROKES, {"name": "snail", "encoder": CONV, "filters": 5, "keys": [4, 6, 5], "values": [3, 4, 6]}),
}


def pair(name: str) -> tuple[Tasks, torch.nn.Module, torch.nn.Module, Episode]:
    """Tasks, ours, the plain reference, both in float64 and evaluation mode, and an episode of three tasks."""
    task, model = PAIRS[name]
    recipe = recipe_from_dict({"name": name, "task": task, "model": model}, name)
    torch.manual_seed(0)
    tasks = build(TASKS, recipe.task, 0)
    ours = build(MODELS, recipe.model, tasks.spec)
    for module in ours.modules():  # statistics that are not those of a fresh network
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    plain = like(ours, by_equation)
    episode = tasks.batch("train", 0, 3)
    fields = {k: v.double() if v is not None and v.is_floating_point() else v for k, v in vars(episode).items()}
    return tasks, ours.double().eval(), plain.double().eval(), Episode(**fields)


@pytest.mark.parametrize("name", PAIRS)
def test_a_plain_reference_computes_what_ours_does(name):
    tasks, ours, plain, episode = pair(name)
    mine, theirs = ours(episode), plain(episode)
    torch.testing.assert_close(theirs, mine, rtol=0, atol=1e-9)
    gradients = []
    for model, logits in ((ours, mine), (plain, theirs)):
        tasks.loss(logits, episode).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]).sort().values)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)  # sorted, as weights are divided among layers otherwise
    assert gradients[0].abs().max() > 1e-3


def test_both_cosines_are_the_same_but_for_the_floor():
    u, v = torch.randn(2, 1, 5, dtype=torch.float64), torch.randn(2, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(by_torch(u, v), by_equation(u, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ntm", "mann"])
def test_the_reference_with_torchs_cosine_trains(name):
    tasks, ours, _, episode = pair(name)
    plain = like(ours.float()).double()
    loss = tasks.loss(plain(episode), episode)
    loss.backward()
    assert loss.item() == pytest.approx(tasks.loss(ours.double()(episode), episode).item(), rel=0.1)
    assert all(p.grad.isfinite().all() for p in plain.parameters())


def test_a_plain_reference_refuses_padding():
    tasks, _, plain, _ = pair("ntm")
    ragged = build(TASKS, tasks.config.model_copy(update={"length": 0}), 0).batch("train", 0, 8)
    with pytest.raises(ValueError, match="one length"):
        plain.float()(ragged)


def test_plain_sampling_draws_the_same_kind_of_episode():
    config = recipe_from_dict({"task": {**STROKES, "rotation": 10, "shift": 1}, "model": {"name": "lstm"}}, "x").task
    tasks = build(TASKS, config, 0)
    x_train, y_train, x_test, y_test = sample(tasks, np.random.default_rng(0))
    ours = tasks.batch("train", 0, 1)
    assert (x_train.shape, y_train.shape) == (ours.x_train.shape[1:], ours.y_train.shape[1:])
    assert (x_test.shape, y_test.shape) == (ours.x_test.shape[1:], ours.y_test.shape[1:2])
    assert y_test.bincount().tolist() == [2, 2, 2]
    assert x_train.dtype == ours.x_train.dtype
    assert 0 <= x_train.min() < 0.1 < x_train.max() <= 1


def test_arithmetic_of_a_linear_layer():
    x, w = torch.randn(5, 7), torch.randn(3, 7, requires_grad=True)
    counted = limit.count(lambda: (x @ w.mT).tanh().sum().backward())
    assert counted.products == 2 * (2 * 5 * 7 * 3)  # forward, and the weight's gradient
    assert counted.others >= 5 * 3
    assert sorted(counted.shape) == [3, 5, 7]


def test_arithmetic_of_a_convolution_and_of_an_lstm():
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    counted = limit.count(lambda: conv(torch.randn(4, 2, 5, 5)))
    assert counted.products == 2 * 4 * 25 * 18 * 3
    assert counted.shape == (100, 18, 3)
    lstm = torch.nn.LSTM(4, 6, batch_first=True)
    assert limit.count(lambda: lstm(torch.randn(2, 3, 4))).products == 2 * 2 * 3 * 24 * (4 + 6)


def test_sides_take_turns_and_a_missing_one_is_left_out():
    order = []
    sides = {
        ("c", "a"): Side(lambda: order.append("a")),
        ("c", "b"): Side(lambda: order.append("b")),
        ("c", "none"): Side(missing="not installed"),
    }
    timings = measure(sides, rounds=3, seconds=1e-4)
    assert set(timings) == {("c", "a"), ("c", "b")}
    assert re.fullmatch("ab(a+b+){3}", "".join(order))
    assert all(len(t.rounds) == 3 and t.low <= t.median <= t.high for t in timings.values())


def test_a_child_that_dies_costs_one_figure_and_not_the_run(monkeypatch):
    monkeypatch.setattr(peak, "peak", die)
    assert peak.peaks([("a", "b")]) == {("a", "b"): None}


def die(*_: str) -> None:
    os._exit(1)


def test_exponent_of_a_square():
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_names_are_unique():
    names = [*CASES, *(sweep.name for sweep in SWEEPS)]
    assert len(set(names)) == len(names)


def test_a_tiny_run_prints_the_table_and_writes_all_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file = tmp_path / "new" / "bench.json"
    assert main(["--quick", "--only", "^ntm-copy-1$", "--threads", "1", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("NTM copy 20, batch 1", "ours, ms", "plain eager", "dnc", "limit"))
    assert max(map(len, printed.splitlines())) <= 80
    result = json.loads(file.read_text())
    assert {"processor", "instructions", "cores", "torch"} <= result["machine"].keys()
    (case,) = result["cases"]
    assert {"name", "title", "unit", "target", "sides", "limit"} == case.keys()
    for name in ("ours", "plain eager"):
        side = case["sides"][name]
        assert side["peak_mib"] > 0
        row = side["threads"]["1"]
        assert {"value", "seconds", "quotient", "quotient_by_round"} == row.keys()
        assert row["value"] == pytest.approx(1e3 * row["seconds"]["median"])
    assert case["sides"]["ours"]["threads"]["1"]["quotient"] == 1
    assert 0 < case["limit"]["threads"]["1"]["value"] < case["sides"]["ours"]["threads"]["1"]["value"]


def test_a_growth_run_draws_its_plot(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    tiny = SWEEPS[0].__class__("growth-tiny", "L", "NTM", [*SWEEPS[0].recipe, "task.length=1"], SWEEPS[0].key, (4, 8))
    monkeypatch.setattr("tests.bench.__main__.SWEEPS", [tiny])
    plot = tmp_path / "growth.png"
    assert main(["--quick", "--only", "growth", "--plot", str(plot)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "L 8" in capsys.readouterr().out


def test_a_pattern_that_matches_nothing_names_the_cases(capsys):
    assert main(["--only", "nonsense"]) == 2
    assert "mann-paper" in capsys.readouterr().err


def test_specs_of_the_tests_serve_every_mode():
    """The pairs above cover each way of being asked."""
    modes = {build(TASKS, recipe_from_dict({"task": t, "model": m}, "x").task, 0).spec for t, m in PAIRS.values()}
    assert {spec.mode for spec in modes if isinstance(spec, Spec)} == {"independent", "sequence", "stream"}
