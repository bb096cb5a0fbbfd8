"""Files of a run directory that are no regular files, or hold no JSON: one clear error, no traceback, no waiting."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
from test_rundir import called, run, trained  # noqa: F401  fixtures

from metacli.errors import MetacliError
from metacli.runs import run_files
from metacli.runs.directory import RunDirectory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no pipes and devices in folders")

REPLACEMENTS = {
    "directory": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "socket": lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "link loop": lambda path: path.symlink_to(path.name),
    "broken link": lambda path: path.symlink_to("nowhere"),
}
CONTENTS = {
    "deep JSON": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "binary": bytes(range(256)) * 9,
    "surrogate": b'{"a": "\xed\xa0\x80"}',
    "list": b"[1]",
    "empty": b"",
}
DAMAGE = {**REPLACEMENTS, **{name: lambda path, data=data: path.write_bytes(data) for name, data in CONTENTS.items()}}


@pytest.fixture(autouse=True)
def no_waiting():
    """End a test that waits for a pipe or reads an endless device."""
    signal.alarm(120)
    yield
    signal.alarm(0)


def damage(path: Path, how: str) -> None:
    path.unlink(missing_ok=True)
    DAMAGE[how](path)


def check_refused(code: int, err: str, path: Path) -> None:
    assert code in (1, 2), err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert str(path) in errors[0]
    assert "hint: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["recipe.yaml", "env.json", "metrics.jsonl"])
def test_resume_refuses_a_damaged_file(run, monkeypatch, capsys, name, how):  # noqa: F811
    damage(run / name, how)
    if name == "metrics.jsonl" and how in CONTENTS:
        (run / name).write_bytes(CONTENTS[how] + b"\n")  # a last line without its end would be ignored
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "train.steps=7", "--threads", 1)
    check_refused(code, err, run / name)


@pytest.mark.parametrize("how", REPLACEMENTS)
@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_resume_refuses_a_checkpoint_that_is_no_file(run, monkeypatch, capsys, name, how):  # noqa: F811
    damage(run / name, how)
    code, err = called(monkeypatch, capsys, "train", "--resume", run, "--threads", 1)
    check_refused(code, err, run / name)


@pytest.mark.parametrize("how", DAMAGE)
def test_eval_replaces_a_damaged_result_and_keeps_what_is_no_file(run, monkeypatch, capsys, how):  # noqa: F811
    damage(run / "eval.json", how)
    code, err = called(monkeypatch, capsys, "eval", "-c", run, "--tasks", 5, "--threads", 1)
    assert code == 0, err
    if how in CONTENTS:
        assert json.loads((run / "eval.json").read_text())["n_tasks"] == 5
    else:
        assert "note: eval.json is not written: cannot write run/eval.json: " in err


@pytest.mark.parametrize(("key", "value"), [("data", "0" * 64), ("task_seed", 7)])
def test_eval_keeps_more_tasks_of_the_same_data_only(run, monkeypatch, capsys, key, value):  # noqa: F811
    def evaluate(count: int) -> str:
        code, err = called(monkeypatch, capsys, "eval", run, "--tasks", count, "--threads", 1)
        assert code == 0, err
        return err

    evaluate(9)
    assert "already holds a result on 9 tasks" in evaluate(5)
    result = json.loads((run / "eval.json").read_text())
    (run / "eval.json").write_text(json.dumps({**result, key: value}))
    assert "already holds" not in evaluate(5)
    assert json.loads((run / "eval.json").read_text())["n_tasks"] == 5


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl"])
def test_curves_refuse_a_damaged_file(run, monkeypatch, capsys, name, how):  # noqa: F811
    damage(run / name, how)
    code, err = called(monkeypatch, capsys, "curves", run)
    assert code in (1, 2), err
    assert err.startswith(f"error: {run}") or f" {run / name}: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("how", DAMAGE)
def test_a_restart_by_torchrun_passes_a_damaged_run_by(tmp_path, monkeypatch, tiny, how):
    monkeypatch.chdir(tmp_path)
    folder = Path("r")
    folder.mkdir()
    damage(folder / "env.json", how)
    assert RunDirectory(folder).launch_id() == ""
    if how in REPLACEMENTS:  # a new run may take the folder, but does not write to a pipe there
        with pytest.raises(MetacliError, match=r"cannot write r/env\.json: "):
            RunDirectory.create(folder, tiny, {})
    shutil.rmtree(folder)


@pytest.mark.parametrize("line", ['{"step": 1, "val": 3}', '{"step": 1, "loss": "x"}', '{"step": 1, "loss": [1]}'])
def test_a_line_of_other_values_is_damaged(run, monkeypatch, capsys, line):  # noqa: F811
    (run / "metrics.jsonl").write_text(line + "\n")
    for arguments in (("curves", run), ("train", "--resume", run, "--threads", 1)):
        code, err = called(monkeypatch, capsys, *arguments)
        check_refused(code, err, run / "metrics.jsonl")
        assert "line 1: damaged" in err


def test_a_file_that_is_too_large_is_refused(tmp_path):
    file = tmp_path / "env.json"
    with open(file, "wb") as stream:
        stream.truncate(run_files.MAX_BYTES + 1)
    with pytest.raises(MetacliError, match="it has more than 268,435,456 bytes"):
        run_files.read_json(file)
