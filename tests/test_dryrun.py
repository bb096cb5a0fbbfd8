"""`train --dry-run`: what it says is counted, measured or estimated as it claims, and nothing is written."""

from __future__ import annotations

import io
import json

import pytest
import torch
from conftest import tiny_keys
from rich.console import Console

from metacli.config import yaml_file
from metacli.config.recipe import load_recipe, recipe_from_dict
from metacli.registry import MODELS, TASKS, build
from metacli.show.dry_run import format_size, print_dry_run
from metacli.system import peak_memory
from metacli.training.dry_run import dry_run
from metacli.training.progress import Progress

CPU = torch.device("cpu")
LINUX = peak_memory.reset_peak()


@pytest.mark.parametrize("name", MODELS)
def test_sizes_are_those_of_the_model_and_its_batches(tiny_tree, name):
    recipe = recipe_from_dict(tiny_tree | {"task": {"name": "clusters"}, "model": tiny_keys(name)}, "x")
    found = dry_run(recipe, None, CPU, Progress(quiet=True), 1)
    tasks = build(TASKS, recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec)
    total = sum(p.numel() for p in model.parameters())
    assert found["parameters"]["total"] == total == sum(found["parameters"]["by_part"].values())
    assert found["memory"]["gradients"] == 4 * total
    assert found["memory"]["parameters"] == 4 * total + sum(b.numel() * b.element_size() for b in model.buffers())
    assert found["memory"]["optimizer"] >= 8 * total  # Adam keeps two numbers of each
    episode = tasks.batch("train", 0, recipe.train.batch)
    assert found["episode"]["x_test"] == list(episode.x_test.shape)
    assert found["recipe"] == recipe.as_dict()


def test_a_batch_smaller_than_the_recipes_passes_dropout(tiny_tree):
    encoder = {"kind": "conv", "channels": 3, "size": 6, "dropout": 0.5}
    model = tiny_keys("transformer") | {"dropout": 0.1, "encoder": encoder}
    tree = tiny_tree | {"task": {"name": "strokes", "size": 20, "ways": 2}, "model": model}
    tree["train"] |= {"batch": 6}
    assert dry_run(recipe_from_dict(tree, "x"), None, CPU, Progress(quiet=True), 1)["time"]["timed_steps"] >= 3


def test_the_time_of_all_steps_is_that_of_the_timed_ones(tiny):
    t = dry_run(tiny, None, CPU, Progress(quiet=True), 1)["time"]
    assert t["seconds"] == pytest.approx(tiny.train.steps * t["seconds_per_step"])
    assert t["steps_per_second"] == pytest.approx(1 / t["seconds_per_step"])
    assert t["timed_steps"] >= 3


def test_batches_come_from_all_over_the_run(tiny_tree):
    """So that a curriculum's long sequences count."""
    tiny_tree["task"] |= {"max_length": 40, "curriculum": 10_000}
    tiny_tree["train"] |= {"steps": 10_000, "batch": 4}
    found = dry_run(recipe_from_dict(tiny_tree, "x"), None, CPU, Progress(quiet=True), 1)
    assert found["episode"]["x_test"][1] > 20


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="the system does not tell a process's peak")
def test_activations_are_at_least_what_autograd_keeps(tiny_tree):
    model = {"name": "transformer", "width": 256, "layers": 4, "heads": 4, "encoder": {"kind": "flat"}}
    tree = tiny_tree | {"task": {"name": "clusters", "ways": 20}, "model": model}
    tree["train"] = tree["train"] | {"batch": 64}
    recipe = recipe_from_dict(tree, "x")
    tasks = build(TASKS, recipe.task, recipe.seed)
    model = build(MODELS, recipe.model, tasks.spec).train()
    episode, kept = tasks.batch("train", 0, recipe.train.batch), {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = tasks.loss(model(episode), episode)
    memory = dry_run(recipe, None, CPU, Progress(quiet=True), 1)["memory"]
    assert loss.isfinite()
    assert sum(kept.values()) > 1e7
    assert 0.9 * sum(kept.values()) < memory["activations"] < 3 * sum(kept.values())


@pytest.mark.skipif(not LINUX, reason="the system does not tell a process's peak")
def test_rise_is_what_some_work_takes_at_most():
    held = torch.ones(5_000_000)
    found = peak_memory.measure_increase(lambda: torch.ones(10_000_000).sum(), CPU)
    assert 39e6 < found < 60e6
    assert held.sum() == 5_000_000


def test_what_the_system_does_not_tell_is_unknown(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    found = dry_run(tiny, None, CPU, Progress(quiet=True), 1)
    assert found["memory"]["activations"] is None
    console = Console(file=io.StringIO(), width=80)
    print_dry_run(console, found)
    (line,) = [line for line in console.file.getvalue().splitlines() if "activations" in line]
    assert line.split()[2] == "unknown"


@pytest.mark.parametrize(
    ("count", "text"), [(None, "unknown"), (0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")]
)
def test_sizes_in_words(count, text):
    assert format_size(count) == text


def test_nothing_is_written_and_what_is_printed_is_a_recipe(cli, tiny_file, tmp_path):
    before = sorted(tmp_path.iterdir())
    found = cli("train", tiny_file, "train.lr=1e-2", "--dry-run")
    assert found.returncode == 0, found.stderr
    assert sorted(tmp_path.iterdir()) == before
    recipe = load_recipe(str(tiny_file), ["train.lr=1e-2"])
    assert yaml_file.parse(found.stdout, "stdout") == recipe.as_dict()
    assert max(map(len, [*found.stdout.splitlines(), *found.stderr.splitlines()])) <= 80
    for words in ("parameters", "x_test", "activations", "per second", "estimated", "measured", "counted"):
        assert words in found.stdout
    (tmp_path / "again.yaml").write_text(found.stdout)
    assert load_recipe(str(tmp_path / "again.yaml")).as_dict() == recipe.as_dict()


def test_as_json_alone(cli, tiny_file):
    found = cli("train", tiny_file, "--dry-run", "--json")
    assert found.returncode == 0, found.stderr
    plain = json.loads(found.stdout)
    assert {"recipe", "tasks", "parameters", "episode", "memory", "time", "baseline"} <= plain.keys()


def test_a_wrong_recipe_and_a_resumed_run_are_refused(cli, tiny_file, tmp_path):
    assert cli("train", tiny_file, "train.step=3", "--dry-run").returncode == 2
    taken = cli("train", tiny_file, "--dry-run", "--run-dir", ".")
    assert taken.returncode == 2
    assert "exists already" in taken.stderr
    refused = cli("train", "--resume", tmp_path, "--dry-run")
    assert refused.returncode == 2
    assert "--dry-run" in refused.stderr
