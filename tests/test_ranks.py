"""Several processes under torchrun give what one gives, and outlive the death of any of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import metacli
from metacli.checkpoints import checkpoint, file_format
from metacli.compute import cpu, processes, torchrun
from metacli.compute.processes import SINGLE_PROCESS, Processes, ProcessLostError
from metacli.config import yaml_file
from metacli.config.recipe import recipe_from_dict
from metacli.errors import MetacliError, ReportedElsewhereError, UsageError
from metacli.evaluation.evaluate import build_eval_tasks, evaluate
from metacli.registry import TASKS, build
from metacli.runs.directory import RunDirectory
from metacli.system.terminal import round_floats
from metacli.training import data_parallel
from metacli.training.loop import train, train_step
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.state import TrainState

HERE = Path(__file__).parent
CPU = torch.device("cpu")
PLUGIN = HERE / "ranks_plugin.py"
RECIPE = {
    "seed": 1,
    "task": {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "size": 6, "ways": 3, "queries": 2},
    "model": {"name": "lstm", "hidden": 8, "layers": 1},
    "train": {"steps": 8, "batch": 7, "eval_tasks": 60, "eval_every": 4, "checkpoint_every": 4, "log_every": 1},
}
RECIPE["model"]["encoder"] = {"kind": "conv", "channels": 4, "precision": "float32"}
RECIPE["train"]["optimizer"] = "rmsprop-graves"  # Adam makes whole steps of gradients that are 0 but for rounding

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is built without")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the recipe, its tasks those of the plugin, and two runs of it: by one process, and by two."""
    path = tmp_path_factory.mktemp("ranks")
    tree = RECIPE | {"task": RECIPE["task"] | {"name": "accidents"}}
    (path / "r.yaml").write_text(yaml_file.dump(tree), encoding="utf-8")
    train(recipe_from_dict({"name": "r", **RECIPE}, "r"), RunPlan(path / "one"), CPU, Progress(quiet=True), 1)
    done = run_torchrun(path, 2, "train", "r.yaml", "--run-dir", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["run two", "step 8"], "one process speaks, once"
    assert done.stderr.count("next: metacli eval") == 1
    return path


def run_torchrun(
    folder: Path, processes: int, *args: object, restarts: int = 0, **env: str
) -> subprocess.CompletedProcess:
    """`torchrun metacli ARGS...`, or of a script that ends in .py, in that folder."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    words = [str(arg) for arg in args]
    what = words if words[0].endswith(".py") else ["-m", "metacli", *words, "--threads", "1", "--plugin", str(PLUGIN)]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent), **env}
    return subprocess.run(
        [*start, "--max-restarts", str(restarts), *what],
        cwd=folder, env=settings, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def model_of(path: Path) -> dict:
    """The model's weights in a file, whose recipe needs a plugin that is not here."""
    tensors = file_format.read_file(path)[1]
    return {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}


def step_of(path: Path) -> int:
    return file_format.read_file(path / "last.safetensors")[0]["step"]


def weights(path: Path) -> dict:
    return model_of(path / "last.safetensors")


def records(path: Path) -> list[dict]:
    changing = ("seconds", "episodes_per_s")
    return [{k: v for k, v in record.items() if k not in changing} for record in RunDirectory(path).read_metrics()]


@pytest.mark.slow
def test_four_processes_compute_what_one_does_in_double_precision(tmp_path):
    done = run_torchrun(tmp_path, 4, HERE / "ranks_script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("equal: ") == 6


def test_a_run_by_two_processes_is_that_of_one(folder):
    torch.testing.assert_close(weights(folder / "two"), weights(folder / "one"), rtol=1e-4, atol=1e-5)
    for one, two in zip(records(folder / "one"), records(folder / "two"), strict=True):
        val, val_two = one.pop("val", {}), two.pop("val", {})
        assert two == pytest.approx(one, rel=1e-4)
        assert val_two == pytest.approx(val, rel=1e-4)
    assert len(records(folder / "two")) == 8
    assert json.loads((folder / "two" / "env.json").read_text(encoding="utf-8"))["processes"] == 2


def test_two_processes_evaluate_bit_for_bit_as_one(folder):
    done = run_torchrun(folder, 2, "eval", "-c", "two", "--tasks", 80, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    path = folder / "one" / "best.safetensors"
    saved = checkpoint.load(path)  # the recipe of one process has no plugin; the weights are those of two
    best = model_of(folder / "two" / "best.safetensors")
    whole = evaluate(replace(saved, model=best).build_model(), build_eval_tasks(saved, [])[1], "test", 80, CPU)
    assert [t["index"] for t in result["tasks"]] == list(range(80))
    for name in ("loss", "accuracy"):
        np.testing.assert_array_equal([t[name] for t in result["tasks"]], round_floats(whole.values[name].tolist()))
    assert [t["classes"] for t in result["tasks"]] == whole.classes
    assert json.loads((folder / "two" / "eval.json").read_text(encoding="utf-8")) == result


@pytest.mark.slow
def test_killed_processes_are_started_anew_and_the_run_goes_on(folder):
    """The second one, before there is any checkpoint: the first saves. Then the first one: its checkpoint stands."""
    kills = f"0:1:2:{signal.SIGKILL:d}:self 1:0:6:{signal.SIGKILL:d}:self"
    done = run_torchrun(folder, 2, "train", "r.yaml", restarts=2, DIES=kills)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith(("run ", "error", "saved"))]
    (run,) = (folder / "runs" / "r").iterdir()
    where = f"run     {run.relative_to(folder)}"
    lost = "another process of this training ended, or did not reply within 10 minutes"
    expected = [where, "saved at step 2", f"{where}, resumed at step 2", f"{where}, resumed at step 4"]
    assert [line for line in said if not line.startswith("error")] == expected
    errors = [line for line in said if line.startswith("error")]  # torchrun may end a survivor before it has its say
    assert errors == [e for e in (f"error: {lost}", f"error: rank 1: {lost}") if e in errors]
    assert "Traceback" not in done.stderr
    whole = weights(folder / "two")
    assert all(torch.equal(value, whole[name]) for name, value in weights(run).items())
    timeless = [[r | {"loss": 0, "accuracy": 0} for r in records(path)] for path in (run, folder / "two")]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_a_signal_to_torchrun_stops_all_after_the_same_step_and_saves(folder):
    done = run_torchrun(
        folder, 2, "train", "r.yaml", "train.steps=100000", "train.eval_every=0", "--run-dir", "asked",
        DIES=f"0:1:3:{signal.SIGTERM:d}:parent",
    )  # fmt: skip
    assert done.returncode != 0
    assert "by a signal, saved\nresume with: metacli train --resume asked" in done.stderr
    step = step_of(folder / "asked")
    assert 3 <= step < 100_000
    assert records(folder / "asked")[-1]["step"] == step


@pytest.mark.slow
def test_the_first_clock_stops_all_and_the_run_goes_on_by_another_length(folder):
    keys = ("train.steps=1000000", "train.eval_every=0")
    done = run_torchrun(
        folder, 2, "train", "r.yaml", *keys, "--run-dir", "timed", "--time-limit", "1s", "--init", "one"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("by the time limit of 1s, saved\nresume with: metacli train --resume timed") == 1
    assert done.stderr.count("init    one/best.safetensors") == 1
    step = step_of(folder / "timed")
    longer = run_torchrun(folder, 2, "train", "--resume", "timed", f"train.steps={step + 2}", "--quiet")
    assert longer.returncode == 0, longer.stderr
    assert f"step {step + 2}" in longer.stdout
    assert longer.stdout.count("run timed") == 1
    assert "changed" not in longer.stderr
    assert RunDirectory(folder / "timed").read_environment()["changes"][0]["keys"] == {
        "train.steps": [1_000_000, step + 2]
    }


@pytest.mark.slow
def test_patience_ends_all_after_the_same_step(folder):
    keys = ("train.steps=1000", "train.eval_every=1", "train.checkpoint_every=0", "train.lr=1e-9", "train.patience=2")
    done = run_torchrun(folder, 2, "train", "r.yaml", *keys, "--run-dir", "patient")
    assert done.returncode == 0, done.stderr
    step = step_of(folder / "patient")
    scores = [record["val"]["accuracy"] for record in records(folder / "patient")]
    assert 3 <= step == len(scores) == scores.index(max(scores)) + 3
    ended = f"stopped at step {step} for 2 validations without a better val"
    assert done.stderr.count(ended) == 1
    again = run_torchrun(folder, 2, "train", "--resume", "patient")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count(ended) == 1, "all know it from the first one's log"


def test_weights_to_begin_from_that_do_not_fit_end_all_with_one_word(folder):
    done = run_torchrun(folder, 2, "train", "r.yaml", "model.hidden=9", "--run-dir", "misfit", "--init", "one")
    assert done.returncode != 0
    assert done.stderr.count("model.hidden: 8 in the checkpoint, 9 in the recipe") == 1
    assert not (folder / "misfit").exists()


LEFT_OVER = [
    (
        {"WORLD_SIZE": "2"},
        "WORLD_SIZE=2 in the environment asks for 2 processes, but RANK, MASTER_ADDR and",
    ),
    ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a"}, "but MASTER_PORT is missing"),
    ({"WORLD_SIZE": "x", "RANK": "1"}, "WORLD_SIZE=x in the environment is not a whole number"),
    ({"WORLD_SIZE": "9" * 5000}, "is not a whole number"),
    (
        {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "99999"},
        "MASTER_PORT=99999 in the environment is",
    ),
    (
        {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "9"},
        "the ranks in the environment",
    ),
]


@pytest.mark.parametrize(("variables", "message"), LEFT_OVER)
def test_variables_of_torchrun_that_are_left_over(cli, tmp_path, variables, message, tiny_file):
    variables = {"MASTER_ADDR": "", "MASTER_PORT": "", "RANK": "", **variables}
    more = [["train", "tiny.yaml"], ["train", "tiny.yaml", "--dry-run"]] if variables["RANK"] == "" else []
    for args in [["eval", "strokes_ntm"], *more]:
        done = cli(*args, **variables)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert message in done.stderr.splitlines()[0]
        assert done.stderr.splitlines()[1].startswith("hint: start the processes with torchrun, or for one")
    assert not (tmp_path / "runs").exists()
    for args in [["sample-tasks", "tiny.yaml", "-n", "1"], *([["train", "--help"], ["--version"]] if more else [])]:
        done, usual = cli(*args, **variables), cli(*args)
        assert (done.returncode, done.stdout, done.stderr) == (0, usual.stdout, usual.stderr)


def test_python_functions_ignore_the_variables_of_torchrun(monkeypatch, tmp_path, tiny_tree):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "x", "TORCHELASTIC_RUN_ID": "left"}.items():
        monkeypatch.setenv(name, value)
    for name in ("one", "two"):
        assert metacli.train(tiny_tree, run_dir=tmp_path / name, threads=1, quiet=True).finished
    assert RunDirectory(tmp_path / "two").read_environment()["processes"] == 1
    assert metacli.evaluate(tmp_path / "two", n_tasks=3).values["accuracy"].shape == (3,)


def test_a_process_that_has_nothing_to_do_says_so(cli, tiny_file):
    complete = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    done = cli("train", "tiny.yaml", "--dry-run", MASTER_PORT="9", **complete)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "rank 1 of 2 has nothing to do: rank 0 prints the result\n"


def test_a_process_that_waits_for_others_that_never_come_says_so(monkeypatch, capfd):
    monkeypatch.setattr(processes, "NOTE_AFTER", 0.05)
    monkeypatch.setattr(processes, "REPLY_TIMEOUT", timedelta(seconds=1))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProcessLostError):
        processes.join("cpu")
    assert f"rank 0 waits for all 2 processes at 127.0.0.1:{port}" in capfd.readouterr().err


def test_one_process_by_itself_needs_no_other():
    assert torchrun.current_rank() == torchrun.RankInfo()
    assert SINGLE_PROCESS.table([3, 4]) == [[3, 4]]
    assert SINGLE_PROCESS.gather("x") == ["x"]
    assert SINGLE_PROCESS.share(5) == range(5)
    assert list(SINGLE_PROCESS.sum(torch.ones(2))) == [1, 1]
    with pytest.raises(MetacliError, match="so"), SINGLE_PROCESS.report_once():
        raise MetacliError("so")


def test_local_batch_norm_in_one_process_is_that_of_the_whole_batch():
    updates, weights = [], []
    for batch_norm in ("synced", "local"):
        tree = RECIPE | {"name": "r", "train": RECIPE["train"] | {"batch_norm": batch_norm}}
        state = TrainState.build(recipe_from_dict(tree, "r"), CPU, threads=1)
        updates.append(train_step(state, data_parallel.align_batch(state, state.tasks.batch("train", 0, 7)), 0))
        weights.append(state.model.state_dict())
    assert updates[0] == updates[1]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_shares_are_all_and_nearly_equal():
    for size in (1, 2, 3, 8):
        own = [Processes(torchrun.RankInfo(rank, size, 0, 1)).share(19) for rank in range(size)]
        assert [i for part in own for i in part] == list(range(19))
        assert max(map(len, own)) - min(map(len, own)) <= 1


def test_of_an_error_that_all_have_one_tells():
    second = Processes(torchrun.RankInfo(1, 2, 1, 2))
    with pytest.raises(ReportedElsewhereError) as e, second.report_once():
        raise UsageError("so")
    assert e.value.code == 2


def test_more_processes_than_tasks_are_refused(tiny):
    with pytest.raises(UsageError, match=r"train\.batch is 4, less than the 5 processes"):
        TrainState.build(tiny, torch.device("cpu"), Processes(torchrun.RankInfo(0, 5, 0, 5)))


def test_padding_to_the_longest_of_all_is_that_of_a_larger_batch(tiny):
    tasks = build(TASKS, tiny.task, 0)
    some, whole = tasks.batch("train", 0, 2), tasks.batch("train", 0, 9)
    longer = data_parallel.pad_episode(some, whole.x_train.shape[1], whole.x_test.shape[1])
    for name in ("x_train", "y_train", "x_test", "y_test", "mask_train", "mask_test"):
        assert torch.equal(getattr(longer, name), getattr(whole, name)[:2])
    with pytest.raises(ValueError, match="of different lengths in a batch need mask_test"):
        data_parallel.pad_episode(SimpleNamespace(**vars(some) | {"mask_test": None}), some.x_train.shape[1], 99)


def test_a_step_that_another_process_left_leaves_nothing_behind():
    norm, two = nn.BatchNorm1d(3), Processes(torchrun.RankInfo(0, 2, 0, 1))
    before = torch.get_rng_state()

    def step():
        with data_parallel.restore_on_process_loss(norm, two):
            norm(torch.randn(5, 3))
            raise ProcessLostError("gone")

    with pytest.raises(ProcessLostError):
        step()
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert norm.num_batches_tracked == 0
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_of_a_machine_divide_its_cores(monkeypatch):
    monkeypatch.setattr(cpu, "_container_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    place = {"MASTER_ADDR": "a", "MASTER_PORT": "9"}
    for name, value in {"WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4, "LOCAL_RANK": 1, "RANK": 5, **place}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert cpu.available_cores() == (9, "cores of this process"), "not connected: the variables are left over"
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    for asked, count in (("", 2), ("1", 2), ("2", 2), ("3", 2)):  # torchrun sets 1 of its own accord
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert cpu.available_cores()[0] == count
    assert cpu.available_cores()[1] == "cores of this process, shared by 4 processes"


def test_torchrun_is_known_again_by_its_processes(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert torchrun.launch_id() == ""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    agents = [subprocess.Popen(["bash", "-c", "exec -a torchrun sleep 60"]) for _ in range(2)]
    shell = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.3)
        monkeypatch.setattr(os, "getppid", lambda: agents[0].pid)
        one = torchrun.launch_id()
        assert one == torchrun.launch_id() != ""
        monkeypatch.setattr(os, "getppid", lambda: agents[1].pid)
        assert torchrun.launch_id() not in (one, "")
        if os.path.exists("/proc"):
            monkeypatch.setattr(os, "getppid", lambda: shell.pid)
            assert torchrun.launch_id() == "", "a shell with inherited variables starts a new run each time"
    finally:
        for process in (*agents, shell):
            process.kill()
            process.wait()
