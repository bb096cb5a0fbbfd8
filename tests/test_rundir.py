"""A damaged run directory is told in a line, never gone on with; through the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY

from metacli.checkpoints import file_format
from metacli.cli import main as command_line
from metacli.config import yaml_file
from metacli.errors import MetacliError
from metacli.runs import metrics_log
from metacli.runs.directory import RunDirectory, check_unused


def called(monkeypatch, capsys, *args: object) -> tuple[int, str]:
    """The command line's exit status and stderr."""
    monkeypatch.setattr(sys, "argv", ["metacli", *map(str, args)])
    with pytest.raises(SystemExit) as e:
        command_line.main()
    return int(e.value.code or 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run of the tiny recipe."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = {**TINY, "train": {**TINY["train"], "optimizer": "adam"}}
    (folder / "tiny.yaml").write_text(yaml_file.dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["metacli", *f"train {folder}/tiny.yaml --run-dir {folder}/run --threads 1".split()])
        with pytest.raises(SystemExit) as e:
            command_line.main()
    assert not e.value.code
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Path:
    """A copy of it to damage, `run` in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "run")
    return Path("run")


def other_recipe(run: Path) -> None:
    file = run / "recipe.yaml"
    file.write_text(file.read_text().replace("hidden: 8", "hidden: 9"))


def without_recipe(run: Path) -> None:
    (run / "recipe.yaml").unlink()
    (run / "recipe.yaml").mkdir()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "recipe.yaml").write_text(""), "recipe.yaml: empty"),
        (lambda run: (run / "recipe.yaml").write_text("- a\n- b\n"), "recipe.yaml: damaged: not a mapping"),
        (lambda run: (run / "recipe.yaml").write_text("7"), "recipe.yaml: damaged: not a mapping"),
        (lambda run: (run / "recipe.yaml").write_bytes(b"\xff\xfe\x00"), "recipe.yaml: damaged: not UTF-8"),
        (lambda run: (run / "recipe.yaml").write_bytes(bytes(5000)), "recipe.yaml"),
        (lambda run: (run / "recipe.yaml").write_text("a" * 200_000), "recipe.yaml"),
        (without_recipe, "recipe.yaml: it is a folder, not a file"),
        (other_recipe, "model.hidden: 8 in last.safetensors, 9 in recipe.yaml"),
        (lambda run: (run / "metrics.jsonl").write_text("5\n"), "metrics.jsonl, line 1: damaged"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 1}\n[1]\n'), "metrics.jsonl, line 2: damaged"),
        (lambda run: (run / "metrics.jsonl").write_text('{"loss": 1}\n'), "metrics.jsonl, line 1: damaged"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": "1"}\n'), "metrics.jsonl, line 1: damaged"),
        (lambda run: (run / "metrics.jsonl").write_text('{"step": 1, "threads": []}\n'), "line 1: damaged"),
        (lambda run: (run / "metrics.jsonl").write_bytes(b"\x80\xff\n" * 9), "metrics.jsonl, line 1: damaged"),
        (lambda run: (run / "metrics.jsonl").write_text("[" * 100_000 + "\n"), "metrics.jsonl, line 1: damaged"),
        (lambda run: ((run / "metrics.jsonl").unlink(), (run / "metrics.jsonl").mkdir()), "it is a folder"),
    ],
)
def test_a_damaged_run_is_not_gone_on_with(run, monkeypatch, capsys, damage, words):
    damage(run)
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "--threads", 1)
    assert code in (1, 2), err
    assert "error: " in err
    assert words in err
    assert "hint: " in err
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def lacking(metadata, tensors):
    metadata["resumable"] = False
    for name in [name for name in tensors if not name.startswith("model.")]:
        del tensors[name]


def of_another_optimizer(metadata, tensors):
    for name in [name for name in tensors if name.endswith(".exp_avg")]:
        tensors[f"{name.removesuffix('.exp_avg')}.square_avg"] = tensors.pop(name)


def of_other_sizes(metadata, tensors):
    tensors["optimizer.0.exp_avg"] = torch.zeros(2, 2)


def of_more_parameters(metadata, tensors):
    for name in ("exp_avg", "exp_avg_sq", "step"):
        tensors[f"optimizer.99.{name}"] = tensors[f"optimizer.0.{name}"]


def with_part_of_the_state(metadata, tensors):
    del tensors["optimizer.0.exp_avg"]


def with_another_meter(metadata, tensors):
    tensors["meter"] = torch.zeros(4)


def without_random_states(metadata, tensors):
    del tensors["random.cpu"]


def with_unknown_tensors(metadata, tensors):
    tensors["other.weight"] = torch.zeros(4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lacking, "no optimizer state"),
        (of_another_optimizer, "its optimizer state does not fit"),
        (of_other_sizes, "its optimizer state does not fit"),
        (of_more_parameters, "its optimizer state does not fit"),
        (with_part_of_the_state, "its optimizer state does not fit"),
        (with_another_meter, "meter: should be rows of three numbers"),
        (without_random_states, "random generators are missing or damaged"),
        (with_unknown_tensors, "unknown tensor 'other.weight'"),
    ],
)
def test_a_checkpoint_that_training_cannot_go_on_from(run, monkeypatch, capsys, change, words):
    rewritten(run / "last.safetensors", change)
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "--threads", 1)
    assert code == 1, err
    assert f"error: {run}/last.safetensors: " in err
    assert words in err
    assert "hint: " in err


def rewritten(path: Path, change) -> None:
    """Change what a checkpoint holds."""
    metadata, tensors = file_format.read_file(path)
    change(metadata, tensors)
    file_format.write_file(path, metadata, tensors)


@pytest.mark.parametrize("missing", ["env.json", "metrics.jsonl", "best.safetensors", "last.safetensors"])
def test_what_training_does_not_need_may_be_missing(run, monkeypatch, capsys, missing):
    (run / missing).unlink()
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "--threads", 1)
    assert code == 0, err


def test_a_resumed_run_says_what_has_changed_around_it(run, monkeypatch, capsys):
    words = ("train", "--resume", run, "--threads", 1)
    code, err = called(monkeypatch, capsys, *words, "train.steps=7")
    assert code == 0, err
    assert "changed since the last checkpoint" not in err
    monkeypatch.setattr("metacli.compute.device.__version__", "9.9")
    monkeypatch.setattr(torch, "__version__", "9.8")
    code, err = called(monkeypatch, capsys, *words, "train.steps=8")
    assert code == 0, err
    (note,) = [line for line in err.splitlines() if "changed since the last checkpoint" in line]
    assert " to 9.9, torch from " in note
    assert note.endswith(" to 9.8")
    code, err = called(monkeypatch, capsys, *words, "train.steps=9", "--quiet")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("cut", ['{"step": 7, "lo', "\x00\x00\x00", '{"step"', "{"])
def test_a_line_that_was_cut_short_is_repaired(run, monkeypatch, capsys, cut):
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(whole + cut)
    (run / ".last.safetensors.0123abcd.part").write_bytes(b"half of a checkpoint")
    (run / ".lock").write_text("process 1 on elsewhere\n")  # as a killed process leaves it
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "--threads", 1)
    assert code == 0, err
    assert (run / "metrics.jsonl").read_text() == whole
    assert {path.name for path in run.iterdir()} == {
        "recipe.yaml",
        "env.json",
        "metrics.jsonl",
        "last.safetensors",
        "best.safetensors",
    }


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}')
    assert [r["step"] for r in metrics_log.read(tmp_path / "metrics.jsonl")] == [1, 2]
    assert metrics_log.read(tmp_path / "none") == []


def test_a_folder_that_never_became_a_run_can_be_taken(tmp_path, tiny):
    folder = tmp_path / "r"
    folder.mkdir()
    for name in (".lock", "env.json", ".recipe.yaml.0123abcd.part"):
        (folder / name).touch()
    check_unused(folder)
    with RunDirectory.create(folder, tiny, {}):
        pass
    assert {path.name for path in folder.iterdir()} == {"recipe.yaml", "env.json"}


def test_a_run_that_cannot_be_begun_leaves_nothing(tmp_path, tiny, monkeypatch):
    def full(path, *_):
        raise MetacliError(f"cannot write {path}")

    monkeypatch.setattr("metacli.system.files.write", full)
    with pytest.raises(MetacliError, match=r"env\.json"):
        RunDirectory.create(tmp_path / "r", tiny, {})
    assert not (tmp_path / "r").exists()


def test_default_places_are_taken_one_by_one(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metacli.runs.directory.time.strftime", lambda _: "now")
    made = [RunDirectory.create(None, tiny, {}) for _ in range(3)]
    assert [run.path.name for run in made] == ["now-seed3", "now-seed3-2", "now-seed3-3"]
    for run in made:
        run.__exit__()


def test_tensorboard_is_missed_before_anything_is_written(tiny_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, err = called(monkeypatch, capsys, "train", tiny_file, "train.tensorboard=true", "--run-dir", "r")
    assert code == 1
    assert "error: tensorboard is not installed" in err
    assert not (tmp_path / "r").exists()


def test_eval_prints_its_result_where_it_cannot_be_kept(run, monkeypatch, capsys):
    (run / "eval.json").mkdir()
    monkeypatch.setattr(sys, "argv", ["metacli", "eval", "-c", "run", "--tasks", "5", "--json", "--threads", "1"])
    with pytest.raises(SystemExit) as e:
        command_line.main()
    streams = capsys.readouterr()
    assert not e.value.code
    assert json.loads(streams.out)["n_tasks"] == 5
    assert "note: eval.json is not written: cannot write run/eval.json: it is a folder, not a file" in streams.err
