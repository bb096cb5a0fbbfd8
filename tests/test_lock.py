"""One process at a time in a run directory, and none kept out by one that has died."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_rundir import called

from metacli.errors import UsageError
from metacli.system.lock import DirectoryLock

ROOT = Path(__file__).parent.parent


@pytest.fixture
def start(tmp_path):
    """Start `metacli ARGS...` beside the test: a Popen; what is left of them is ended."""
    started = []

    def call(*args: object) -> subprocess.Popen[str]:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "metacli", *map(str, args)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=env, text=True, **pipes))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def wait_for(there, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not there() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert there()


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_ends(
    start, tiny_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    first = start("train", tiny_file, "train.steps=1000000", "--run-dir", "r", "--threads", 1)
    wait_for((tmp_path / "r" / "last.safetensors").exists)
    code, err = called(monkeypatch, capsys, "train", "--resume", "r", "--threads", 1)
    assert code == 2, err
    assert f"error: r is in use by process {first.pid} on " in err
    assert "hint: " in err
    first.kill()
    first.wait()
    assert (tmp_path / "r" / ".lock").exists()
    DirectoryLock(tmp_path / "r").release()
    assert not (tmp_path / "r" / ".lock").exists()


def test_of_two_that_begin_the_same_run_one_does(start, tiny_file, tmp_path):
    both = [start("train", tiny_file, "--run-dir", "r", "--threads", 1) for _ in range(2)]
    errs = [process.communicate(timeout=90)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errs
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6


def test_it_is_refused_in_the_same_process_too_and_gone_when_given_back(tmp_path):
    held = DirectoryLock(tmp_path)
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "):
        DirectoryLock(tmp_path)
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []
    DirectoryLock(tmp_path).release()


HOLDS = """
import os, sys, subprocess, time
from pathlib import Path
from metacli.system.lock import DirectoryLock
held = DirectoryLock(Path(sys.argv[1]))
{child}
print(held.is_exclusive, flush=True)
time.sleep(60)
"""
FORKS = """
ready, forked = os.pipe()
if os.fork() == 0:
    os.write(forked, b"!")  # the hooks that run after a fork are done
    sys.stdout.close()
    os.close(1)
    sys.stdin.read()
    os._exit(0)
os.read(ready, 1)
"""
STARTS = "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'], close_fds=False, stdout=2)"


@pytest.mark.parametrize(
    "child",
    [
        pytest.param(FORKS, marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")),
        STARTS,
    ],
    ids=["forked", "started"],
)
def test_the_child_of_a_killed_holder_does_not_hold_it(tmp_path, child):
    command = [sys.executable, "-c", HOLDS.format(child=child), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}  # the child lives until its stdin is closed
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **pipes) as holder:
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(UsageError, match=f"in use by process {holder.pid} on "):
            DirectoryLock(tmp_path)
        holder.kill()
        holder.wait()
        DirectoryLock(tmp_path).release()


@pytest.mark.parametrize("holder", [b"", b"\xff\xfe", b"process 1\x1b[2J on x\n", b"process 1 on x y\n", b"x" * 9999])
def test_a_holder_that_is_not_told_is_not_named(tmp_path, holder):
    held = DirectoryLock(tmp_path)
    (tmp_path / ".lock").write_bytes(holder)
    with pytest.raises(UsageError) as e:
        DirectoryLock(tmp_path)
    assert e.value.message == f"{tmp_path} is in use"
    held.release()


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        DirectoryLock(tmp_path / "run")
    assert target.read_text() == "kept"


@pytest.mark.skipif(os.name == "nt", reason="no flock")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_run_goes_on_with_a_note(tmp_path, tiny_file, monkeypatch, capsys, number):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fcntl.flock", no_locks)
    code, err = called(monkeypatch, capsys, "train", tiny_file, "--run-dir", "r", "--threads", 1)
    assert code == 0, err
    assert err.count("note: this file system has no locks") == 1
    code, err = called(monkeypatch, capsys, "train", "--resume", "r", "--threads", 1)
    assert code == 0, err
    assert {path.name for path in Path("r").iterdir()} == {
        *("recipe.yaml", "env.json", "metrics.jsonl", "last.safetensors", "best.safetensors")
    }
