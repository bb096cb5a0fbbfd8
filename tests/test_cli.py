"""The command line as a user meets it: real processes, exit codes, streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import tiny_keys

from metacli.cli import main as command_line
from metacli.config import yaml_file
from metacli.registry import MODELS

ROOT = Path(__file__).parent.parent


def inside(monkeypatch, capsys, *args: object) -> tuple[int, str, str]:
    """The same entry point without a new process, for the many wrong usages."""
    monkeypatch.setattr(sys, "argv", ["metacli", *map(str, args)])
    with pytest.raises(SystemExit) as e:
        command_line.main()
    streams = capsys.readouterr()
    return int(e.value.code or 0), streams.out, streams.err


def test_train_eval_sample(cli, tiny_file, tmp_path):
    trained = cli("train", tiny_file, "train.lr=1e-2", "--run-dir", "r")
    assert trained.returncode == 0, trained.stderr
    assert "run r" in trained.stdout
    assert "chance  " in trained.stderr
    assert "\r" not in trained.stderr  # the bar is silent when piped

    evaluated = cli("eval", "--checkpoint", "r", "--tasks", "30", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    wanted = {
        "checkpoint",
        "recipe",
        "step",
        "split",
        "task_seed",
        "n_tasks",
        "d_test_accuracy",
        "d_test_loss",
        "d_test_bits",
        "tasks",
    }
    assert wanted <= result.keys()
    assert result["n_tasks"] == len(result["tasks"]) == 30
    assert result["split"] == "test"
    mean = sum(t["accuracy"] for t in result["tasks"]) / 30
    assert result["d_test_accuracy"]["mean"] == pytest.approx(mean, rel=1e-5)
    assert json.loads((tmp_path / "r" / "eval.json").read_text()) == result

    table = cli("eval", "r/last.safetensors", "task.length=2", "--tasks", "5", "--show", "2")
    assert "D_test bits" in table.stdout
    assert all(len(line) <= 80 for line in table.stdout.splitlines())

    compared = json.loads(cli("eval", "r", "task.length=2", "r/last.safetensors", "--tasks", "5", "--json").stdout)
    assert [entry["checkpoint"] for entry in compared["models"]] == ["r", "r/last.safetensors"]

    sampled = cli("sample-tasks", tiny_file, "-n", "1")
    assert sampled.returncode == 0, sampled.stderr
    assert cli("sample-tasks", "r", "-n", "1").stdout == sampled.stdout
    assert all(len(line) <= 80 for line in sampled.stdout.splitlines())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_saves_and_exits(tiny_file, tmp_path, number, code):
    command = [sys.executable, "-m", "metacli", "train", str(tiny_file), "train.steps=1000000", "--run-dir", "r"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "r" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.is_file() and log.read_text().count("\n") > 3) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == code, err
    assert "--resume" in err
    assert "Traceback" not in err
    from metacli.checkpoints import checkpoint

    assert checkpoint.load(tmp_path / "r" / "last.safetensors").step > 3


def test_a_run_that_ignores_hangups_goes_on(tiny_file, tmp_path):
    script = 'nohup "$0" -m metacli train tiny.yaml train.steps=60 --run-dir r & sleep 2; kill -HUP $!; wait $!'
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_few_keys_can_change_a_run_that_is_resumed(tiny_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert inside(monkeypatch, capsys, "train", tiny_file, "--run-dir", "r")[0] == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    for keys, words in (
        (["train.lr=1", "train.steps=8", "seed=4"], "seed: 3 in the run, 4 now\ntrain.lr: 0.001 in the run, 1.0 now"),
        (["train.eval_tasks=7"], "train.eval_tasks: 5 in the run, 7 now"),
        (["train.steps=5"], "train.steps is 5, but the run has done 6 steps"),
        (["train.step=8"], "did you mean 'steps'"),
        (["train.steps=8", "--init", "r"], "leave out --run-dir, --dry-run and --init"),
    ):
        code, out, err = inside(monkeypatch, capsys, "train", "--resume", "r", *keys)
        assert (code, out) == (2, "")
        assert words in err
    code, _, err = inside(monkeypatch, capsys, "train", tiny_file, "train.steps=8", "--resume", "r")
    assert code == 2
    assert "train.steps: 6 in the run, 8 now" in err
    assert "leave the recipe out" in err
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}


@pytest.mark.parametrize("name", ["../../../x", "a/b", "x" * 101, "a\\b", ".hidden", "", "con:", "a\x1b[2J", "end."])
def test_a_name_that_leads_elsewhere_is_refused(tiny_file, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    written = f"name={json.dumps(name)}"
    code, _, err = inside(monkeypatch, capsys, "train", tiny_file, written)
    assert code == 2
    assert "cannot be the name of a folder" in err
    assert "\x1b" not in err
    assert not (tmp_path / "runs").exists()


def test_help_is_quick_because_torch_stays_out():
    code = (
        "import sys, metacli.cli.main; sys.exit(any(n in sys.modules for n in ('torch', 'numpy', 'pydantic', 'yaml')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("verb", ["train", "eval", "sample-tasks", "recipes"])
def test_help_of_every_verb(monkeypatch, capsys, verb):
    code, out, _ = inside(monkeypatch, capsys, verb, "--help")
    assert code == 0
    assert "Usage" in out


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["train"], 2, "no recipe"),
        (["train", "copy_ntn"], 2, "did you mean 'copy_ntm'"),
        (["train", "FILE", "train.step=3"], 2, "did you mean 'steps'"),
        (["train", "FILE", "train.step=3", "train.lr=fast", "model.hidden=0"], 2, "train.lr"),
        (["train", "FILE", "train.lr"], 2, "KEY=VALUE"),
        (["train", "FILE", "--device", "cuda:7"], 2, "not available"),
        (["train", "FILE", "--device", "warp"], 2, "unknown device"),
        (["train", "FILE", "--run-dir", "FOLDER"], 2, "exists already"),
        (["train", "FILE", "--run-dir", "FILE/x"], 1, "cannot write the run directory"),
        (["train", "FILE", "--resume", "FOLDER"], 2, "not a run directory"),
        (["train", "FILE", "--resume", "FOLDER", "--run-dir", "x"], 2, "leave out --run-dir"),
        (["train", "FOLDER"], 2, "is a folder"),
        (["train", "ntm"], 2, "recipes whose name contains it: associative_recall_ntm, "),
        (["train", "ways=3"], 2, "no recipe is given before 'ways=3'"),
        (["train", "FILE", "hidden=9"], 2, "did you mean model.hidden=9?"),
        (["train", "FILE", "--lr", "3e-4"], 2, "train.lr=3e-4"),
        (["train", "FILE", "--max-length=4"], 2, "task.max_length=4"),
        (["train", "--resume", "none"], 2, "no such folder: none"),
        (["eval", "--checkpoint", "none.safetensors"], 2, "no such file or folder"),
        (["eval", "runs/none"], 2, "no such file or folder"),
        (["eval", "omniglot_nt"], 2, "did you mean 'omniglot_ntm'"),
        (["eval", "strokes_ntm"], 2, "train it first: metacli train strokes_ntm"),
        (["eval", "--checkpoint", "FILE"], 2, "is a recipe, not a checkpoint"),
        (["eval", "FOLDER"], 2, "not a run directory"),
        (["eval", "copy_ntm", "length=3"], 2, "did you mean task.length=3?"),
        (["inspect-memory", "copy_ntm", "-c", "repeat_copy_ntm"], 2, "2 checkpoints are given"),
        (["inspect-memory", "task.length=3"], 2, "no checkpoint is given"),
        (["draw", "none"], 2, "no such file or folder"),
        (["curves", "none"], 2, "no such folder: none"),
        (["sample-tasks", "omniglot_ntm", "task.name=folder", "task.root=none"], 2, "none is not a folder"),
        (["eval", "copy_ntm", "--split", "tset"], 2, "'train', 'val', 'test'"),
        (["eval"], 2, "no checkpoint is given"),
        (["eval", "-c", "x", "--tasks", "0"], 2, "greater than or equal to 1"),
        (["sample-tasks", "FILE", "--split", "x"], 2, "hint: metacli sample-tasks --help"),
        (["fly"], 2, "fly"),
    ],
)
def test_wrong_usage(monkeypatch, capsys, tiny_file, tmp_path, args, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    places = {"FILE": str(tiny_file), "FOLDER": str(tmp_path / "full"), "FILE/x": str(tiny_file / "x")}
    got, out, err = inside(monkeypatch, capsys, *(places.get(a, a) for a in args))
    assert got == code
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "tiny.yaml"]  # nothing was left behind


def test_all_recipe_errors_come_at_once(monkeypatch, capsys, tiny_file):
    _, _, err = inside(monkeypatch, capsys, "train", tiny_file, "train.step=3", "train.lr=fast", "model.hidden=0")
    assert err.startswith("error: ")
    for key in ("train.step", "train.lr", "model.hidden"):
        assert key in err


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_evaluates_and_shows_its_memory(cli, tmp_path, model):
    """Through `python -m metacli`, on N-way K-shot, which every model serves."""
    train = {"steps": 3, "batch": 4, "eval_tasks": 5, "log_every": 1}
    tree = {"task": {"name": "clusters"}, "model": tiny_keys(model), "train": train}
    (tmp_path / "r.yaml").write_text("# x\n" + yaml_file.dump(tree))
    trained = cli("train", "r.yaml", "--run-dir", "r")
    assert trained.returncode == 0, trained.stderr
    evaluated = cli("eval", "-c", "r", "--tasks", "10", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["recipe"]["model"]["name"] == model
    looked = cli("inspect-memory", "r", "--out", "look", "--format", "npz,html,json")
    assert looked.returncode == 0, looked.stderr
    assert f"{model} on clusters, test split, task 0: 3-way 1-shot" in looked.stdout
    assert max(map(len, looked.stdout.splitlines())) <= 80
    assert {p.name for p in (tmp_path / "look").iterdir()} == {"task-0.npz", "task-0.html", "task-0.json"}
