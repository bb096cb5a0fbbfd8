"""What a checkpoint knows of its data, through the real command line: no held-out accuracy on trained classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from metacli.checkpoints import checkpoint, file_format
from metacli.checkpoints.errors import RefusedError
from metacli.checkpoints.provenance import Provenance, TrainingClasses, tensors_digest
from metacli.config import yaml_file
from metacli.tasks.base import SPLITS


def pictures(root: Path, names: list[str], first: int = 0) -> None:
    """A directory of six pictures for each class, all of them different."""
    for c, name in enumerate(names, first):
        (root / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (9, 9), (c, i, 7 * c % 251)).save(root / name / f"{i}.png")


@pytest.fixture
def trained(cli, tmp_path):
    """A run on a folder of 40 classes, which lies beside it."""
    pictures(tmp_path / "data", [f"c{i:02d}" for i in range(40)])
    task = {"name": "folder", "root": "data", "ways": 2, "queries": 2, "size": 8}
    train = {"steps": 2, "batch": 2, "eval_tasks": 2}
    tree = {"task": task, "model": {"name": "lstm", "hidden": 4, "layers": 1}, "train": train}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tree))
    done = cli("train", "r.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    return checkpoint.load(tmp_path / "run").provenance


def test_eval_holds_the_data_against_what_the_checkpoint_recorded(cli, tmp_path, trained):
    assert sum(len(names) for names in trained.classes.values()) == 40
    assert all(trained.classes[split] for split in SPLITS)
    assert cli("eval", "-c", "run", "--tasks", "5").returncode == 0

    pictures(tmp_path / "data", ["a-first"], first=60)  # more data is no harm
    grown = cli("eval", "-c", "run", "--tasks", "5")
    assert grown.returncode == 0, grown.stderr
    assert "note: the data have changed since training" in grown.stderr
    assert "1 classes new: a-first" in grown.stderr

    seen = sorted(trained.classes["train"])[:3]
    for name in seen:  # trained classes under other names, said to be for test
        shutil.copytree(tmp_path / "data" / name, tmp_path / "data" / "test" / f"new-{name}")
    for overrides in ([], ["task.queries=3"]):
        refused = cli("eval", "-c", "run", "--tasks", "5", *overrides)
        assert refused.returncode == 2
        assert f"the model was trained on 3 classes of this test split, such as test/new-{seen[0]}" in refused.stderr
        assert cli("inspect-memory", "-c", "run", *overrides).returncode == 2
    assert cli("eval", "-c", "run", "--tasks", "5", "--split", "train").returncode == 0


def test_resume_refuses_data_that_changed(cli, tmp_path, trained):
    held_out = sorted(trained.classes["test"])[0]
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "data" / held_out)
    refused = cli("train", "--resume", "run")
    assert refused.returncode == 2
    assert f"test: 1 classes gone: {held_out}" in refused.stderr
    pictures(tmp_path / "data", [held_out], first=90)
    assert "the classes are the same, but their content has changed" in cli("train", "--resume", "run").stderr
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before


ONE, TWO, SHA = "0" * 15 + "1", "0" * 15 + "2", "ab" * 32
CLASSES = {"train": {"ä/\udc801": [ONE, TWO], "b": []}, "val": {}, "test": {"c": [TWO]}}
WHOLE = Provenance(CLASSES, SHA, "folder", (TrainingClasses("strokes 3", {"x": [ONE]}),), (SHA, SHA))


def test_a_provenance_survives_as_json():
    text = json.dumps(WHOLE.as_dict(), sort_keys=True)
    again = Provenance.from_dict(json.loads(text))
    assert again == WHOLE
    assert json.dumps(again.as_dict(), sort_keys=True) == text
    assert WHOLE.changes(again) == []


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"classes": None},
        {"classes": {"train": {}, "val": {}}},
        {"classes": {**CLASSES, "other": {}}},
        {"classes": {**CLASSES, "val": []}},
        *({"classes": {**CLASSES, "val": {"a": wrong}}} for wrong in ("x", [1], ["x"], [ONE[:-1]], [TWO, ONE])),
        *({"classes": {**CLASSES, "val": {"a": wrong}}} for wrong in ([ONE, ONE], [f"{i:016x}" for i in range(5)])),
        {"classes": {**CLASSES, "val": {"x" * 40_000: []}}},
        {"data_identity": 3},
        {"digest": SHA.upper()},
        {"digest": SHA + "\n"},
        {"initial_encoders": "x"},
        {"initial_encoders": ["x"]},
        {"initial_encoders": [SHA] * 10_001},
        {"initialised_from": [{}]},
        {"initialised_from": [{"classes": {"a": 1}, "data_identity": "x"}]},
        {"initialised_from": [{"classes": {}, "data_identity": "x", "more": 1}]},
    ],
)
def test_what_metacli_does_not_write_is_no_provenance(change):
    with pytest.raises(RefusedError, match="provenance"):
        Provenance.from_dict(WHOLE.as_dict() | change)


def test_a_value_without_a_part_is_no_provenance():
    parts = WHOLE.as_dict()
    for wrong in (None, [], "x", 3, {}, *({k: v for k, v in parts.items() if k != left_out} for left_out in parts)):
        with pytest.raises(RefusedError, match="provenance"):
            Provenance.from_dict(wrong)


def test_a_digest_of_tensors_covers_names_kinds_shapes_and_bytes():
    one = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(3), "c": torch.zeros(0), "d": torch.ones(2).bfloat16()}
    known = tensors_digest(one)
    assert tensors_digest(dict(sorted(one.items()))) == known
    assert tensors_digest(one | {"b": torch.arange(6.0).view(3, 2).t().reshape(2, 3).contiguous()}) != known
    assert tensors_digest(one | {"b": torch.arange(6.0).view(2, 3).t().contiguous().t()}) == known
    others = [one["b"].view(3, 2), one["b"].half(), one["b"].double(), one["b"].view(torch.int32), one["b"] + 1e-6]
    digests = {tensors_digest(one | {"b": other}) for other in others} | {tensors_digest({"x": one["b"]})}
    assert len(digests | {known}) == len(others) + 2


def test_dropout_goes_on_bit_for_bit(cli, tmp_path, tiny_tree):
    model = {"name": "transformer", "width": 8, "layers": 1, "heads": 1, "dropout": 0.4}
    train = tiny_tree["train"] | {"steps": 8, "checkpoint_every": 4}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tiny_tree | {"model": model, "train": train}))
    assert cli("train", "r.yaml", "--run-dir", "whole").returncode == 0
    assert cli("train", "r.yaml", "train.steps=4", "--run-dir", "half").returncode == 0
    metadata, tensors = file_format.read_file(tmp_path / "half" / "last.safetensors")
    metadata["recipe"]["train"]["steps"] = 8
    file_format.write_file(tmp_path / "half" / "last.safetensors", metadata, tensors)
    recipe = (tmp_path / "half" / "recipe.yaml").read_text().replace("steps: 4\n", "steps: 8\n")
    (tmp_path / "half" / "recipe.yaml").write_text(recipe)
    resumed = cli("train", "--resume", "half")
    assert resumed.returncode == 0, resumed.stderr
    one, two = (checkpoint.load(tmp_path / name / "last.safetensors") for name in ("whole", "half"))
    assert one.step == two.step == 8
    assert all(torch.equal(one.model[k], two.model[k]) for k in one.model)


def test_only_a_result_as_good_replaces_eval_json(cli, tmp_path, tiny_file):
    assert cli("train", tiny_file, "--run-dir", "r").returncode == 0
    kept = tmp_path / "r" / "eval.json"

    def tasks() -> tuple[int, str]:
        found = json.loads(kept.read_text())
        return found["n_tasks"], found["split"]

    assert cli("eval", "-c", "r", "--tasks", "20").stderr.count("not written") == 0
    assert tasks() == (20, "test")
    for other in (["--tasks", "5"], ["--split", "val", "--tasks", "30"]):
        assert "note: eval.json is not written" in cli("eval", "-c", "r", *other).stderr
    assert "note: eval.json is not written" in cli("eval", "-c", "r/last.safetensors", "--tasks", "30").stderr
    assert cli("eval", "-c", "r", "--tasks", "30", "task.length=2").returncode == 0
    assert tasks() == (20, "test")
    cli("eval", "-c", "r", "--tasks", "25")
    assert tasks() == (25, "test")


def test_an_evaluation_that_cannot_be_kept_is_printed_all_the_same(cli, tmp_path, tiny_file):
    assert cli("train", tiny_file, "--run-dir", "r").returncode == 0
    (tmp_path / "r" / "eval.json").mkdir()  # whoever runs this may write anywhere, but not replace a folder
    done = cli("eval", "-c", "r", "--tasks", "5", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["n_tasks"] == 5
    assert "note: eval.json is not written: cannot write" in done.stderr
    assert not list((tmp_path / "r").glob("*.part"))
