"""Shared by all tests: one thread (the models here are tiny) and a way to run the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # what counts as the cores of this process, see metacli.compute.cpu
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests send it to children, which inherit that nohup has it ignored
ROOT = Path(__file__).parent.parent
READ_WHEN_USED = ("METACLI_", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_")  # variables that need no new interpreter

TINY = {
    "seed": 3,
    "task": {"name": "copy", "width": 3, "max_length": 3},
    "model": {"name": "lstm", "hidden": 8, "layers": 1},
    "train": {"steps": 6, "batch": 4, "eval_every": 3, "eval_tasks": 5, "checkpoint_every": 2, "log_every": 1},
}


def tiny_keys(name: str) -> dict:
    """Keys of a tiny model of every registered kind, its inputs as they are; the list of kinds is the registry's."""
    from metacli.registry import MODELS, resolve

    cls = resolve(MODELS, name, "model")
    assert hasattr(cls, "tiny"), f"{cls.__name__} needs `tiny`, the keys that make one small enough for a test"
    return {"name": name, "encoder": {"kind": "flat"}, **cls.tiny}


@pytest.fixture(autouse=True)
def _denormals():
    """Training flushes denormals for the whole process; each test starts with them, as hypothesis insists."""
    torch.set_flush_denormal(False)


@pytest.fixture
def registries():
    """Names that a test adds are gone after it, and installed plugins are looked for anew."""
    from metacli import plugins, registry

    tables = registry.MODELS, registry.TASKS, registry.ENCODERS, registry.ORIGINS
    before, modules, path = [dict(table) for table in tables], set(sys.modules), list(sys.path)
    plugins._entry_points_loaded = False
    yield
    plugins._entry_points_loaded = False
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)
    for name in set(sys.modules) - modules:
        if name.startswith("metacli_plugin_"):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def tiny_tree() -> dict:
    """A recipe that trains in a moment, as plain values."""
    return {k: dict(v) if isinstance(v, dict) else v for k, v in TINY.items()}


@pytest.fixture
def tiny(tiny_tree):
    """The same as a `Recipe`."""
    from metacli.config.recipe import recipe_from_dict

    return recipe_from_dict({"name": "tiny", **tiny_tree}, "tiny")


@pytest.fixture
def tiny_file(tmp_path, tiny_tree) -> Path:
    """The same as a file."""
    from metacli.config import yaml_file

    path = tmp_path / "tiny.yaml"
    path.write_text("# A recipe for tests.\n" + yaml_file.dump(tiny_tree))
    return path


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """Starts a process of the command line in a tenth of a second; None where the system cannot."""
    if not hasattr(os, "memfd_create"):
        yield None
        return
    from tests.trust.nursery import Nursery

    with Nursery(tmp_path_factory.mktemp("nursery")) as started:
        yield started


@pytest.fixture
def cli(tmp_path, nursery):
    """Run `metacli ARGS...` in a process of its own, in an empty folder: a CompletedProcess with text streams.

    With variables that are read when it starts it is a new interpreter, else a child of one that has torch loaded.
    """
    place = {name: value for name, value in os.environ.items() if name.startswith("METACLI_")}
    rest = dict(os.environ)

    def call(*args: object, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
        changed = {k for k in os.environ.keys() | rest.keys() if os.environ.get(k) != rest.get(k)}
        if nursery and all(name.startswith(READ_WHEN_USED) for name in env) and changed <= {"PYTEST_CURRENT_TEST"}:
            ended = nursery.run(*args, cwd=tmp_path, environment=place | {k: str(v) for k, v in env.items()})
            return subprocess.CompletedProcess(list(args), ended.code, ended.out, ended.err)
        command = [sys.executable, "-m", "metacli", *map(str, args)]
        settings = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT), **env}
        return subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call
