"""A run that begins from the weights of another one, and what it may then be evaluated on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from conftest import tiny_keys
from PIL import Image

from metacli import api
from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import Provenance, TrainingClasses, tensors_digest
from metacli.config.recipe import recipe_from_dict
from metacli.errors import UsageError
from metacli.evaluation.evaluate import build_eval_tasks
from metacli.runs.directory import RunDirectory
from metacli.training.dry_run import dry_run
from metacli.training.loop import train
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.stopping import Deadline
from metacli.training.warm_start import WarmStart, frozen_encoder_warning

CPU = torch.device("cpu")


def run(recipe, path, init=None, resume=False):
    start = None if init is None else WarmStart.from_checkpoint(init, recipe)
    return train(recipe, RunPlan(None, path) if resume else RunPlan(path, None, start), CPU, Progress(quiet=True), 1)


def rehearsed(recipe, path):
    return dry_run(recipe, path, CPU, Progress(quiet=True), 1)


def strokes(tiny_tree, **keys):
    task = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 14, "ways": 3, "queries": 2}
    return recipe_from_dict(tiny_tree | {"task": task | keys, "model": tiny_keys("lstm")}, "x")


def pictures(root, classes):
    """A folder of classes, each of four pictures of a brightness of its own."""
    for number, name in classes.items():
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(4):
            Image.new("L", (14, 14), 10 * number + i).save(folder / f"{i}.png")
    return root


def divided(root):
    """A folder that says which of its twelve classes are whose."""
    splits = ("train", "train", "val", "test")
    return pictures(root, {i: f"{splits[i % 4]}/c{i}" for i in range(12)})


def of_folder(tiny_tree, root):
    task = {"name": "folder", "root": str(root), "size": 14, "ways": 2, "queries": 1}
    return recipe_from_dict(tiny_tree | {"task": task, "model": tiny_keys("lstm")}, "x")


def test_it_begins_from_these_weights_with_a_new_optimiser(tmp_path, tiny):
    run(tiny, tmp_path / "first")
    best = tmp_path / "first" / "best.safetensors"
    other = replace(tiny, seed=8, train=tiny.train.model_copy(update={"steps": 2}))
    run(other, tmp_path / "second", init=tmp_path / "first")
    told = json.loads((tmp_path / "second" / "env.json").read_text())["init"]
    assert told == {
        "path": str(best),
        "sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
        "step": checkpoint.load(best).step,
    }

    from metacli.training.data_parallel import align_batch
    from metacli.training.loop import train_step
    from metacli.training.state import TrainState

    parts = TrainState.build(other, CPU)
    parts.model.load_state_dict(checkpoint.load(best).model)
    for step in range(2):
        share = align_batch(parts, parts.tasks.batch("train", 4 * step, 4))
        train_step(parts, share, step)
    got = checkpoint.load(tmp_path / "second" / "last.safetensors").model
    assert all(torch.equal(got[k], v) for k, v in parts.model.state_dict().items())


def test_the_run_goes_on_without_that_file(tmp_path, tiny):
    run(tiny, tmp_path / "first")
    run(tiny, tmp_path / "whole", init=tmp_path / "first")
    slow = replace(tiny, train=tiny.train.model_copy(update={"checkpoint_every": 0}))
    folder = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metacli.training.loop.train_step", lambda *_: 1 / 0)  # the machine goes down in the first step
        with pytest.raises(ZeroDivisionError):
            run(slow, folder, init=tmp_path / "first")
    (tmp_path / "first" / "best.safetensors").unlink()
    assert checkpoint.load(folder / "last.safetensors").step == 0
    run(slow, folder, resume=True)
    one, two = (checkpoint.load(tmp_path / name / "last.safetensors").model for name in ("whole", "cut"))
    assert all(torch.equal(one[k], two[k]) for k in one)
    (folder / "last.safetensors").unlink()  # as if it had been killed before these weights were saved
    with pytest.raises(UsageError, match="before it saved its initial weights"):
        run(slow, folder, resume=True)


def test_another_model_is_refused_key_by_key(tmp_path, tiny_tree, tiny):
    run(tiny, tmp_path / "first")
    other = recipe_from_dict(tiny_tree | {"model": {"name": "lstm", "hidden": 9, "layers": 2}}, "x")
    with pytest.raises(UsageError) as e:
        run(other, tmp_path / "second", init=tmp_path / "first")
    lines = e.value.message.splitlines()[1:]
    assert lines == [
        "model.hidden: 8 in the checkpoint, 9 in the recipe",
        "model.layers: 1 in the checkpoint, 2 in the recipe",
    ]
    wider = recipe_from_dict(tiny_tree | {"task": {"name": "copy", "width": 5, "max_length": 3}}, "x")
    with pytest.raises(
        UsageError,
        match=r"do not fit[^\n]*\nx_shape: \(4,\) in the checkpoint, \(6,\) in these tasks\nout_size: 3 in the",
    ):
        run(wider, tmp_path / "second", init=tmp_path / "first")
    with pytest.raises(UsageError, match="no checkpoint 'nothing'"):
        run(tiny, tmp_path / "second", init="nothing")
    assert not (tmp_path / "second").exists()


def test_a_recipe_takes_the_encoder_of_another_model(tmp_path, tiny_tree):
    conv = {"kind": "conv", "channels": [2, 3, 4, 4], "size": 6, "normalise": True}
    tree = strokes(tiny_tree).as_dict() | {"model": tiny_keys("lstm") | {"encoder": conv}}
    run(recipe_from_dict(tree, "x"), tmp_path / "first")
    tree["model"] = tiny_keys("mann") | {"encoder": conv}
    tree["train"]["encoder_from"] = str(tmp_path / "first")
    second = recipe_from_dict(tree, "x")
    run(second, tmp_path / "second")
    told = json.loads((tmp_path / "second" / "env.json").read_text())["init"]
    assert told["part"] == "encoder"
    assert told["path"] == str(tmp_path / "first" / "best.safetensors")

    from metacli.training.state import TrainState

    parts, saved = TrainState.build(second, CPU), checkpoint.load(tmp_path / "first")
    untrained = {k: v.clone() for k, v in parts.model.state_dict().items()}
    known = WarmStart.from_recipe(second).load_into(parts.model, parts.tasks, Provenance.of(parts.tasks))
    encoders = 0
    for key, value in parts.model.state_dict().items():
        encoders += key.startswith("encoder.")
        assert torch.equal(value, saved.model[key] if key.startswith("encoder.") else untrained[key]), key
    assert encoders > 0
    assert not known.initialised_from  # the same training classes as its own

    for change in ({"size": 5}, {"kind": "flat"}):
        ((key, value),) = change.items()
        tree["model"]["encoder"] = conv | change
        with pytest.raises(
            UsageError,
            match=f"the encoder of .*\nmodel.encoder.{key}: {conv[key]} in the checkpoint, {value} in",
        ):
            run(recipe_from_dict(tree, "x"), tmp_path / "third")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_an_encoder_learns_at_its_own_rate(tmp_path, tiny_tree, rate):
    """With 0 not at all: not one number of it changes, and running it on leaves the same weights."""
    conv = {"kind": "conv", "channels": 3, "size": 6, "normalise": True, "dropout": 0.1}
    tree = strokes(tiny_tree).as_dict() | {"model": tiny_keys("mann") | {"encoder": conv}}
    run(recipe_from_dict(tree, "x"), tmp_path / "first")
    tree["train"] |= {"encoder_from": str(tmp_path / "first"), "encoder_rate": rate, "steps": 4, "checkpoint_every": 2}
    tree["model"]["encoder"] = conv | {"dropout": 0.0}  # no weight of it depends on that
    second = recipe_from_dict(tree, "x")
    run(second, tmp_path / "second")
    assert not frozen_encoder_warning(second, WarmStart.from_recipe(second))
    tree["train"]["encoder_from"] = None
    assert len(frozen_encoder_warning(recipe_from_dict(tree, "x"), None)) == (rate == 0)
    first, last = (checkpoint.load(tmp_path / name).model for name in ("first", "second/last.safetensors"))
    kept = {key: torch.equal(first[key], last[key]) for key in last if key.startswith("encoder.")}
    trained = {key for key in kept if not key.endswith("num_batches_tracked")}
    assert all(kept.values()) if rate == 0 else not any(kept[key] for key in trained)

    stopped = train(second, RunPlan(tmp_path / "third"), CPU, Progress(quiet=True), 1, deadline=Deadline("0.001s"))
    assert stopped.step < 4
    run(second, tmp_path / "third", resume=True)
    for key, value in checkpoint.load(tmp_path / "third" / "last.safetensors").model.items():
        assert torch.equal(value, last[key]), key


def test_classes_that_the_weights_know_are_not_held_out(tmp_path, tiny_tree):
    """From one folder to another one, which holds out what the first was trained on."""
    run(of_folder(tiny_tree, divided(tmp_path / "a")), tmp_path / "first")
    known = checkpoint.load(tmp_path / "first").provenance.classes["train"]
    assert len(known) == 6
    own = {12 + i: f"train/n{i}" for i in range(3)} | {15 + i: f"val/v{i}" for i in range(3)}
    for split in ("val", "test"):
        classes = own | {18 + i: f"test/t{i}" for i in range(3)} | {1: f"{split}/other-name"}
        recipe = of_folder(tiny_tree, pictures(tmp_path / split, classes))
        with pytest.raises(UsageError, match=rf"the model was trained on 1 classes of this {split} split"):
            run(recipe, tmp_path / "second", init=tmp_path / "first")
        tree = recipe.as_dict()
        tree["train"]["encoder_from"] = str(tmp_path / "first")
        for begin in (run, rehearsed):
            with pytest.raises(UsageError, match=f"trained on 1 classes of this {split} split") as e:
                begin(recipe_from_dict(tree, "x"), tmp_path / "second")
            assert "train.encoder_from= (empty)" in e.value.hint
        tree["train"]["encoder_from"] = None
        assert recipe_from_dict(tree, "x") == recipe
        assert not (tmp_path / "second").exists()


def test_what_the_weights_know_is_remembered_over_several_runs(tmp_path, tiny_tree):
    run(of_folder(tiny_tree, divided(tmp_path / "a")), tmp_path / "first")
    known = checkpoint.load(tmp_path / "first").provenance.classes["train"]
    run(strokes(tiny_tree, ways=2), tmp_path / "second", init=tmp_path / "first")
    run(strokes(tiny_tree, ways=2), tmp_path / "third", init=tmp_path / "second")
    third = checkpoint.load(tmp_path / "third")
    assert third.provenance.initialised_from == (TrainingClasses("folder", known),)
    seen = pictures(tmp_path / "b", {i: f"test/c{i}" for i in range(12) if i % 4 < 2})
    keys = ["task.name=folder", f"task.root={seen}", "task.val_fraction=0.2"]
    with pytest.raises(UsageError, match=f"the model was trained on {len(known)} classes of this test split"):
        build_eval_tasks(third, keys)
    with pytest.raises(UsageError, match="the model was trained on"):
        api.evaluate(tmp_path / "third", *keys, n_tasks=5)
    new = pictures(tmp_path / "n", {i: f"test/c{i}" for i in range(20, 24)})
    build_eval_tasks(third, ["task.name=folder", f"task.root={new}"])
    build_eval_tasks(third, [])  # its own are still held out
    resumed = run(strokes(tiny_tree, ways=2), tmp_path / "third", resume=True)
    assert checkpoint.load(resumed.run / "last.safetensors").provenance == third.provenance


def test_the_same_past_is_kept_once(tmp_path, tiny_tree):
    recipe = strokes(tiny_tree)
    run(recipe, tmp_path / "r0")
    for i in range(3):
        run(recipe, tmp_path / f"r{i + 1}", init=tmp_path / f"r{i}")
    assert checkpoint.load(tmp_path / "r3").provenance.initialised_from == ()  # it says so itself
    other = strokes(tiny_tree, data_seed=5)
    run(other, tmp_path / "r4", init=tmp_path / "r3")
    run(other, tmp_path / "r5", init=tmp_path / "r4")
    assert len(checkpoint.load(tmp_path / "r5").provenance.initialised_from) == 1


@pytest.mark.parametrize("part", ["encoder", "model"])
def test_the_encoders_that_a_run_began_from_are_recorded_in_order(tmp_path, tiny_tree, part):
    conv = {"kind": "conv", "channels": 3, "size": 6}
    tree = strokes(tiny_tree).as_dict() | {"model": tiny_keys("lstm") | {"encoder": conv}}
    digests: list[str] = []
    for name, source in (("a", None), ("b", tmp_path / "a"), ("c", tmp_path / "b")):
        tree["train"]["encoder_from"] = str(source) if source and part == "encoder" else None
        run(recipe_from_dict(tree, "x"), tmp_path / name, init=source if part == "model" else None)
        saved = checkpoint.load(tmp_path / name)
        assert saved.provenance.initial_encoders == tuple(digests)
        weights = {k.removeprefix("encoder."): v for k, v in saved.model.items() if k.startswith("encoder.")}
        digests.append(tensors_digest(weights))
    assert len(set(digests)) == 3
    resumed = run(recipe_from_dict(tree, "x"), tmp_path / "c", resume=True)
    assert checkpoint.load(resumed.run / "last.safetensors").provenance.initial_encoders == tuple(digests[:2])


def test_in_python(tmp_path, tiny):
    first = api.train(tiny, run_dir=tmp_path / "first", threads=1, quiet=True)
    second = api.train(tiny, run_dir=tmp_path / "second", init=first.run, time_limit=1e-3, threads=1, quiet=True)
    assert (second.step, second.finished) == (1, False)
    third = api.train(None, "train.steps=2", resume=second.run, threads=1, quiet=True)
    assert (third.step, third.finished) == (2, True)
    assert RunDirectory.open(second.run)[1].train.steps == 2
    with pytest.raises(TypeError, match="leave out init"):
        api.train(resume=second.run, init=first.run)
    with pytest.raises(UsageError, match="--time-limit"):
        api.train(tiny, time_limit="soon")
    assert not Deadline("1h").has_passed()


def test_through_the_command_line(cli, tiny_file):
    assert cli("train", tiny_file, "--run-dir", "first").returncode == 0
    begun = cli("train", tiny_file, "--run-dir", "second", "--init", "first")
    assert begun.returncode == 0, begun.stderr
    assert "init    first/best.safetensors" in begun.stderr
