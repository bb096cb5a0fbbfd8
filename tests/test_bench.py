"""The benchmark runs, its references compute the same values and gradients as our models, and its counts are right."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metacli.config.recipe import load_recipe, recipe_from_dict
from metacli.episode import Episode, Spec
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build
from metacli.tasks.base import Tasks
from tests.bench import build as bench_build
from tests.bench import cases, commands, floor, packages, peak
from tests.bench.__main__ import main
from tests.bench.case import OURS, Implementation
from tests.bench.cases import CASES
from tests.bench.commands import COMMANDS, Command, run_command
from tests.bench.growth import SWEEPS, exponent
from tests.bench.references import build_reference
from tests.bench.references.sampling import sample
from tests.bench.references.similarity import explicit_cosine, torch_cosine
from tests.bench.timing import measure

STROKES = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3, "queries": 2}
STREAM = {**STROKES, "protocol": "stream", "length": 9}
COPY = {"name": "copy", "length": 4, "width": 3}
CONV = {"kind": "conv", "channels": 4, "size": 6}
MEMORY = {"hidden": 7, "locations": 9, "width": 5, "read_heads": 2}
PAIRS = {
    "ntm": (COPY, {"name": "ntm", **MEMORY, "write_heads": 2, "init": "content"}),
    "ntm-stream": (STREAM, {"name": "ntm", **MEMORY, "shift_range": 2}),
    "mann": (STREAM, {"name": "mann", **MEMORY, "least_used": "own", "erase": "all", "write_vector": "key"}),
    "mann-paper": (STREAM, {"name": "mann", **MEMORY, "write_vector": "key"}),
    "mann-shipped": (
        STREAM,
        {
            "name": "mann",
            **MEMORY,
            "encoder": {**CONV, "normalise": True},
            "strength": 10.0,
            "learn_strength": True,
            "least_used": "own",
            "erase": "all",
            "init": "content",
        },
    ),
    "dnc": (COPY, {"name": "dnc", **MEMORY}),
    "dnc-stream": (STREAM, {"name": "dnc", **MEMORY, "encoder": CONV}),
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
    plain = build_reference(ours, explicit_cosine)
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
    torch.testing.assert_close(torch_cosine(u, v), explicit_cosine(u, v), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ntm", "mann", "dnc"])
def test_the_reference_with_torchs_cosine_trains(name):
    tasks, ours, _, episode = pair(name)
    plain = build_reference(ours.float()).double()
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


def test_the_products_of_a_linear_layer():
    x, w = torch.randn(5, 7), torch.randn(3, 7, requires_grad=True)
    counted = floor.count(lambda: (x @ w.mT).tanh().sum().backward())
    assert counted == {torch.float32: 2 * (2 * 5 * 7 * 3)}  # forward, and the weight's gradient


def test_the_products_of_an_lstm():
    lstm = torch.nn.LSTM(4, 6, batch_first=True)
    assert floor.count(lambda: lstm(torch.randn(2, 3, 4))) == {torch.float32: 2 * 2 * 3 * 24 * (4 + 6)}


def test_a_convolutions_products_with_padding_are_not_counted():
    conv = torch.nn.Conv2d(2, 3, 3, padding=1)
    inside = sum(0 <= i + k - 1 < 5 for i in range(5) for k in range(3)) ** 2
    assert floor.count(lambda: conv(torch.randn(4, 2, 5, 5))) == pytest.approx({torch.float32: 2 * 4 * 2 * 3 * inside})
    backward = floor.count(lambda: conv(torch.randn(4, 2, 5, 5)).sum().backward())
    assert backward == pytest.approx({torch.float32: 2 * 2 * 4 * 2 * 3 * inside})


def test_products_are_counted_by_precision():
    w = torch.randn(3, 7)
    counted = floor.count(lambda: (w.bfloat16() @ w.bfloat16().mT, w @ w.mT, w.double() @ w.double().mT))
    assert counted == {torch.bfloat16: 2 * 63, torch.float32: 2 * 63}
    assert floor.seconds(counted, {torch.bfloat16: 126.0, torch.float32: 63.0}) == 3


def test_what_is_faster_than_the_floor_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(floor, "seconds", lambda *_: 1e6)
    make_recipes_tiny(monkeypatch)
    assert main(["--quick", "--only", "^ntm-copy-1$", "--threads", "1"]) == 1
    assert "faster than the arithmetic floor: NTM copy, batch 1, metacli, 1 thread;" in capsys.readouterr().err


def test_implementations_take_turns():
    order = []
    rows = {
        ("c", "a"): Implementation(lambda: order.append("a")),
        ("c", "b"): Implementation(lambda: order.append("b")),
    }
    timings = measure(rows, rounds=3, seconds=1e-4)
    assert re.fullmatch("ab(a+b+){3}", "".join(order))
    assert all(len(t.rounds) == 3 and t.fastest <= t.low <= t.median <= t.high for t in timings.values())


def test_the_peak_of_a_step(monkeypatch):
    make_recipes_tiny(monkeypatch)
    assert 0 <= peak.peak("ntm-copy-1", OURS) < 100


def test_a_child_that_dies_costs_one_figure_and_not_the_run(monkeypatch):
    monkeypatch.setattr(peak, "peak", die)
    assert peak.peaks([("a", "b")]) == {("a", "b"): None}


def die(*_: str) -> None:
    os._exit(1)


def test_exponent_of_a_square():
    assert exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


def test_names_are_unique():
    names = [*CASES, *(item.name for item in (*SWEEPS, *COMMANDS))]
    assert len(set(names)) == len(names)


TINY_TASKS = {
    "copy": ["task.width=3", "task.length=2"],
    "strokes": ["task.classes=24", "task.val_classes=20", "task.test_classes=20", "task.size=14"],
}
TINY_MODELS = {
    "ntm": ["model.locations=8", "model.hidden=6"],
    "dnc": ["model.locations=8", "model.hidden=6"],
    "mann": ["model.locations=8", "model.hidden=6"],
    "lstm": ["model.hidden=6"],
    "snail": ["model.encoder.channels=4", "model.filters=4", "model.keys=[4, 4, 4]", "model.values=[4, 4, 4]"],
}


def make_recipes_tiny(monkeypatch) -> None:
    """Let the benchmark build each recipe with tiny sizes. Its own sizes are validated too."""

    @cache
    def load_tiny_recipe(name, *overrides):
        recipe = load_recipe(name, list(overrides))
        keys = [*TINY_TASKS[recipe.task.name], *TINY_MODELS[recipe.model.name], "train.batch=2"]
        keys += ["task.length=10"] * (getattr(recipe.task, "protocol", "") == "stream")
        return load_recipe(name, [*overrides, *keys])

    monkeypatch.setattr(bench_build, "load_recipe", lambda name, overrides: load_tiny_recipe(name, *overrides))
    monkeypatch.setattr(floor, "SIZES", (512,))
    monkeypatch.setattr(floor, "MINIMUM", 1e7)
    monkeypatch.setattr(peak, "peaks", lambda keys: dict.fromkeys(keys, 1.0))  # its processes build the large models
    for package, function in ((packages.DNC, "dnc_step"), (packages.EASYFSL, "easyfsl_sampler")):
        if find_spec(package) is None:
            monkeypatch.setattr(cases, function, lambda *_: {})


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory) -> SimpleNamespace:
    """Every case and every sweep with tiny sizes: the exit status, the figures, and what was printed and written."""
    folder = tmp_path_factory.mktemp("bench") / "new"
    has_matplotlib = find_spec("matplotlib") is not None
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as stdout:
        make_recipes_tiny(patch)
        patch.setenv("COLUMNS", "80")
        ends = [dataclasses.replace(sweep, values=(sweep.values[0], sweep.values[-1])) for sweep in SWEEPS]
        patch.setattr("tests.bench.__main__.SWEEPS", ends)
        patch.setattr("tests.bench.__main__.COMMANDS", [])
        files = ["--json", str(folder / "bench.json"), "--markdown", str(folder / "bench.md")]
        plot = ["--plot", str(folder / "growth.png")] if has_matplotlib else []
        code = main(["--quick", "--threads", "1", *files, *plot])
    figures = json.loads((folder / "bench.json").read_text())
    return SimpleNamespace(code=code, figures=figures, printed=stdout.getvalue(), folder=folder)


@pytest.mark.slow
def test_every_case_and_sweep_runs(tiny_run):
    assert tiny_run.code == 0
    assert [case["name"] for case in tiny_run.figures["cases"]] == list(CASES)
    assert [sweep["name"] for sweep in tiny_run.figures["growth"]] == [sweep.name for sweep in SWEEPS]
    assert {"processor", "instructions", "cores", "torch"} <= tiny_run.figures["machine"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_case_has_all_figures(tiny_run, name):
    (case,) = (case for case in tiny_run.figures["cases"] if case["name"] == name)
    rows = case["implementations"]
    target = CASES[name].target
    assert next(iter(rows)) == OURS
    assert not target or target.reference in rows or find_spec(target.reference) is None
    for row in rows.values():
        assert row["peak_mib"] == 1
        figures = row["threads"]["1"]
        assert {"value", "seconds", "quotient", "quotient_by_round"} == figures.keys()
        assert figures["value"] > 0
    assert rows[OURS]["threads"]["1"]["quotient"] == 1
    assert ("floor" in case) == (case["unit"] != "episodes/s")
    if "floor" in case:
        assert 0 < case["floor"]["threads"]["1"]["share"] < 1
        assert case["floor"]["operations"]["float32"] > 0


@pytest.mark.slow
def test_the_tables_stay_whole_at_80_columns(tiny_run):
    assert max(map(len, tiny_run.printed.splitlines())) <= 80
    assert all(word in tiny_run.printed for word in ("NTM copy, batch 1", "metacli, ms", "plain eager", "floor"))
    assert "L 1024" in tiny_run.printed


@pytest.mark.slow
def test_the_markdown_has_a_row_for_each_case_and_sweep(tiny_run):
    lines = (tiny_run.folder / "bench.md").read_text().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 2 * 2 + len(CASES) + len(SWEEPS)
    assert len({line.count("|") for line in tables}) == 2
    assert tiny_run.figures["machine"]["processor"] in lines[0]


@pytest.mark.slow
def test_the_plot_is_written(tiny_run):
    pytest.importorskip("matplotlib")
    assert (tiny_run.folder / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_package_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(packages, "DNC", "no_such_package")
    assert main(["--quick", "--only", "^dnc-copy-1$"]) == 1
    error = capsys.readouterr().err
    assert "error: the package no_such_package is not installed" in error
    assert "hint: pip install -c constraints.txt -e '.[bench]'" in error


def test_a_command_is_timed_to_its_end():
    row = run_command(COMMANDS[0], quick=True)
    assert row["command"] == "metacli train smoke train.steps=1"
    assert row["steps"] == 1
    assert row["seconds"] > 0


def test_a_command_is_stopped_at_its_result():
    keys = ("smoke", "train.steps=100000", "train.eval_every=3")
    assert run_command(Command("c", "any", keys, "errors", lambda errors: errors >= 0))["steps"] == 3


def test_a_command_that_ends_without_its_result_is_an_error(monkeypatch):
    monkeypatch.setattr(commands, "_run", lambda *_: {"seconds": 1.0, "peak_mib": None, "result": None})
    with pytest.raises(MetacliError, match="ended without the stated result: 100 %"):
        run_command(Command("c", "100 %", ("smoke",), "accuracy", lambda accuracy: accuracy == 1))


def test_a_command_that_fails_is_an_error():
    with pytest.raises(MetacliError, match="no_such_recipe"):
        run_command(Command("c", "any", ("no_such_recipe",)))


def test_a_pattern_that_matches_nothing_names_the_cases(capsys):
    assert main(["--only", "nonsense"]) == 2
    assert "mann-paper" in capsys.readouterr().err


def test_specs_of_the_tests_serve_every_mode():
    """The pairs above cover each way of being asked."""
    modes = {build(TASKS, recipe_from_dict({"task": t, "model": m}, "x").task, 0).spec for t, m in PAIRS.values()}
    assert {spec.mode for spec in modes if isinstance(spec, Spec)} == {"independent", "sequence", "stream"}
