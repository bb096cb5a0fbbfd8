"""Memory: what there is, what a step takes at the least, and what is said where it does not suffice."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metacli.checkpoints import checkpoint
from metacli.cli import main
from metacli.compute import jit
from metacli.config import recipe as recipes
from metacli.config.recipe import recipe_from_dict
from metacli.episode import Episode
from metacli.errors import MetacliError
from metacli.evaluation.memory_forecast import least_bytes
from metacli.registry import TASKS, build, resolve
from metacli.system import memory, peak_memory
from metacli.training import loop, memory_forecast
from metacli.training.data_parallel import align_batch
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.state import TrainState
from tests.conftest import tiny_keys

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of one's own: writes files of /proc and of the control groups."""

    def write(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    for place in ("proc", "cgroup"):
        monkeypatch.setattr(memory, f"_{place.upper()}", tmp_path / place)
    write(proc__meminfo="MemTotal: 9000 kB\nMemAvailable:   4000 kB\nSwapFree:  100 kB\n")
    return write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4100),
        ({"proc__self__status": "VmRSS:\t 50 kB\n"}, 4150),
        ({"proc__self__cgroup": "0::/a/b\n"}, 4100),
        ({"proc__self__cgroup": "0::/a/b\n", "cgroup__a__b__memory.max": "max\n"}, 4100),
        (
            {
                "proc__self__cgroup": "0::/a/b\n",
                "cgroup__a__memory.max": str(3000 * 1024),
                "cgroup__a__memory.current": str(1200 * 1024),
                "cgroup__a__memory.stat": f"anon 1\nfile {200 * 1024}\n",
            },
            2100,
        ),
        (
            {
                "proc__self__cgroup": "5:cpu:/x\n4:memory:/elsewhere\n",
                "cgroup__memory__memory.limit_in_bytes": str(1000 * 1024),
                "cgroup__memory__memory.usage_in_bytes": str(1500 * 1024),
            },
            100,
        ),
        ({"proc__meminfo": "nothing known\n"}, None),
    ],
)
def test_what_there_is_goes_by_the_machine_and_the_container(machine, files, expected):
    machine(**files)
    assert memory.available_bytes() == (None if expected is None else expected * 1024)


def test_without_proc_there_is_the_whole_machine_or_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_PROC", tmp_path / "none")
    assert (memory.available_bytes() or GIB) >= 2**28
    monkeypatch.setattr(memory.os, "sysconf_names", {})
    assert memory.available_bytes() is None
    memory.check_fits(2**80, "all", "", None)


def test_sizes_are_said_in_bytes():
    assert memory.describe_bytes(17_179_869_184) == "16.0 GiB (17,179,869,184 bytes)"
    assert memory.describe_bytes(12) == "12 bytes"
    assert memory.format_bytes(2**70) == "1024.0 EiB"


def torch_fails() -> None:
    torch.empty(2**45)


def numpy_fails() -> None:
    np.empty(2**48, np.uint8)


def python_fails() -> None:
    bytearray(2**62)


def cuda_fails() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 16.00 GiB. GPU 0 has a total capacity of 1 GiB")


def told(work) -> str:
    with pytest.raises(MetacliError) as caught, memory.explain_out_of_memory():
        work()
    return caught.value.message


@pytest.fixture(scope="module")
def apart():
    """A process of its own, as what is measured and what fails leaves its traces in how memory is kept."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (torch_fails, "out of memory: requested 128.0 TiB (140,737,488,355,328 bytes) at once"),
        (numpy_fails, "out of memory: requested 256.0 TiB (281,474,976,710,656 bytes) at once"),
        (python_fails, "out of memory: no memory is left"),
        (cuda_fails, "out of memory on the GPU: requested 16.0 GiB (17,179,869,184 bytes) at once"),
    ],
)
def test_an_allocation_that_fails_is_an_error_that_says_how_much(apart, work, says):
    assert apart.submit(told, work).result() == says


def test_the_command_line_tells_it(monkeypatch, capsys):
    monkeypatch.setattr(main, "build_command", lambda: lambda **_: cuda_fails())
    with pytest.raises(SystemExit) as stopped:
        main.main()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: out of memory on the GPU: requested 16.0 GiB (17,179,869,184 bytes) at once\nhint: ")
    assert "train.batch" in said


def test_other_errors_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(main, "build_command", lambda: lambda **_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        main.main()


def test_what_no_machine_has_is_refused_before_it_starts(cli):
    done = cli("train", "copy_ntm", "model.locations=65536", "train.batch=65536", "--threads", "1")
    assert done.returncode == 1
    assert "error: out of memory: a training step with train.batch=65536" in done.stderr
    assert "377,963,101,376 bytes" in done.stderr  # memory, weightings and reads of 65,536 tasks
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def tasks_without_data(recipe):
    """Tasks as the forecast sees them: their spec, and the shapes of an episode."""
    spec, t = resolve(TASKS, recipe.task.name, "task").spec_of(recipe.task), recipe.task
    if spec.mode == "sequence" or not hasattr(t, "ways"):
        return build(TASKS, recipe.task, 0)
    seen, asked = (t.ways * t.shots, t.ways * t.queries) if spec.mode == "independent" else (0, t.length)
    x, y = (torch.empty(1, n, *spec.x_shape, device="meta") for n in (seen, asked))
    labels = torch.empty(1, seen, spec.y_size, device="meta")
    answers = torch.empty(1, asked, 1, dtype=torch.int64, device="meta")
    episode = Episode(x, labels, y, answers, torch.zeros(1))
    return SimpleNamespace(spec=spec, batch=lambda *_: episode)


def test_no_recipe_that_ships_is_refused_where_there_are_two_gigabytes(monkeypatch):
    refuse, found = memory.check_fits, []
    monkeypatch.setattr(memory, "available_bytes", lambda: 2 * GIB)
    monkeypatch.setattr(memory, "check_fits", lambda n, *rest: found.append(n) or refuse(n, *rest))
    paths = sorted(recipes.recipes_folder().glob("*.yaml"))
    for path in paths:
        plan = recipes.load_recipe(str(path))
        memory_forecast.check_training(plan, tasks_without_data(plan), CPU, plan.train.batch)
    assert len(found) == len(paths)
    assert 0 < min(found) < max(found) < 2 * GIB


def measured(name: str, scan: str, task: str) -> list[tuple[int, int | None]]:
    """Bytes foretold and taken by a step of training, and by a pass without gradients."""
    larger = {
        "transformer": {"width": 64, "layers": 4},
        "snail": {"filters": 32, "keys": [64, 64, 64], "values": [64, 64, 64]},
        "lstm": {"hidden": 64},
    }.get(name, {"locations": 128, "width": 64})
    tree = {
        "name": "x",
        "task": {"name": task} if task == "sinusoid" else {"name": task, "width": 3, "max_length": 8},
        "model": {**tiny_keys(name), **larger},
        "train": {"steps": 2, "batch": 32, "eval_tasks": 2, "scan": scan},
    }
    recipe = recipe_from_dict(tree, "x")
    parts = TrainState.build(recipe, CPU)
    episode = parts.tasks.batch("train", 0, 32)
    one, all_of_them = (align_batch(parts, e) for e in (parts.tasks.batch("train", 0, 1), episode))
    loop.train_step(parts, one, 0)
    parts.optimizer.zero_grad(set_to_none=True)
    taken = peak_memory.measure_increase(lambda: loop.train_step(parts, all_of_them, 0), CPU)
    with torch.no_grad():
        answered = peak_memory.measure_increase(lambda: parts.model(episode), CPU)
    foretold = [least_bytes(parts.model, parts.tasks, "train", 32, r)["states"] for r in (recipe, None)]
    return [(foretold[0], taken), (foretold[1], answered)]


@pytest.mark.parametrize(
    ("name", "scan"),
    [
        ("ntm", "plain"),
        ("ntm", "fast"),
        ("mann", "plain"),
        ("mann", "fast"),
        ("dnc", "plain"),
        ("dnc", "fast"),
        ("lstm", "auto"),
        ("transformer", "auto"),
        ("snail", "auto"),
    ],
)
@pytest.mark.parametrize("task", ["sinusoid", "copy"])
def test_the_forecast_is_less_than_what_a_step_takes(apart, name, scan, task):
    """Never refused what would have worked: measured beside what was foretold."""
    if scan == "fast" and (task == "copy" or not jit.available()):
        pytest.skip("numba is missing, or one task is enough")
    (training, taken), (answering, answered) = apart.submit(measured, name, scan, task).result()
    assert training > 32 * 64
    assert answering > 0
    assert taken is None or training <= taken + 2**20
    assert answered is None or answering <= answered + 2**20


def test_a_forecast_changes_no_weights(tiny, monkeypatch):
    first = TrainState.build(tiny, CPU).model.state_dict()
    monkeypatch.setattr(memory_forecast, "check_training", lambda *_: None)
    second = TrainState.build(tiny, CPU).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_runs_out_of_memory_keeps_what_it_saved(tiny, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    loop.train(tiny, RunPlan(whole), CPU, Progress(), 1)
    update, run = loop.train_step, tmp_path / "run"

    def full(state, share, step):
        if step == 4:
            cuda_fails()
        return update(state, share, step)

    monkeypatch.setattr(loop, "train_step", full)
    with pytest.raises(MetacliError, match=r"requested 16.0 GiB"), memory.explain_out_of_memory():
        loop.train(tiny, RunPlan(run), CPU, Progress(), 1)
    assert checkpoint.load(run / "last.safetensors").step == 4
    monkeypatch.setattr(loop, "train_step", update)
    loop.train(tiny, RunPlan(resume=run), CPU, Progress(), 1)
    ends = [checkpoint.load(path / "last.safetensors").model for path in (whole, run)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
