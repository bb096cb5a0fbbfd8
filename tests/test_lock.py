"""One process at a time in a run directory, and none kept out by one that has died."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_rundir import called

from metacli.errors import UsageError
from metacli.system import lock
from metacli.system.lock import Lock

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
    wait_for((tmp_path / "r" / "last.pt").exists)
    code, err = called(monkeypatch, capsys, "train", "--resume", "r", "--threads", 1)
    assert code == 2, err
    assert f"error: r is in use by process {first.pid} on " in err
    assert "hint: " in err
    first.kill()
    first.wait()
    assert (tmp_path / "r" / ".lock").exists()
    Lock(tmp_path / "r").release()
    assert not (tmp_path / "r" / ".lock").exists()


def test_of_two_that_begin_the_same_run_one_does(start, tiny_file, tmp_path):
    both = [start("train", tiny_file, "--run-dir", "r", "--threads", 1) for _ in range(2)]
    errs = [process.communicate(timeout=90)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], errs
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6


def test_it_is_refused_in_the_same_process_too_and_gone_when_given_back(tmp_path):
    held = Lock(tmp_path)
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "):
        Lock(tmp_path)
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []
    Lock(tmp_path).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
def test_a_forked_process_does_not_hold_it(tmp_path):
    held = Lock(tmp_path)
    reading, writing = os.pipe()
    there, born = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.write(born, b"x")
        os.read(reading, 1)  # until the parent is done
        os._exit(0)
    os.close(reading)
    os.read(there, 1)
    try:
        with pytest.raises(UsageError):  # neither has the child's own end given it back
            Lock(tmp_path)
        held.close()  # as the system does where a process is killed
        Lock(tmp_path).release()
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_a_started_program_does_not_inherit_it(tmp_path):
    held = Lock(tmp_path)
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, close_fds=False, text=True, **pipes) as child:
        assert child.stdout.readline() == "up\n"
        held.close()
        Lock(tmp_path).release()
        child.communicate()


@pytest.mark.parametrize("holder", [b"", b"\xff\xfe", b"process 1\x1b[2J on x\n", b"process 1 on x y\n", b"x" * 9999])
def test_a_holder_that_is_not_told_is_not_named(tmp_path, holder):
    held = Lock(tmp_path)
    (tmp_path / ".lock").write_bytes(holder)
    with pytest.raises(UsageError) as e:
        Lock(tmp_path)
    assert e.value.message == f"{tmp_path} is in use"
    held.release()


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        Lock(tmp_path / "run")
    assert target.read_text() == "kept"


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("without", [None, SimpleNamespace(flock=no_locks, LOCK_EX=2, LOCK_NB=4)])
def test_without_locks_a_run_goes_on_with_a_note(tmp_path, tiny_file, monkeypatch, capsys, without):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lock, "fcntl", without)
    code, err = called(monkeypatch, capsys, "train", tiny_file, "--run-dir", "r", "--threads", 1)
    assert code == 0, err
    assert err.count("note: this file system has no locks") == 1
    code, err = called(monkeypatch, capsys, "train", "--resume", "r", "--threads", 1)
    assert code == 0, err
    assert {path.name for path in Path("r").iterdir()} == {
        *("recipe.yaml", "env.json", "metrics.jsonl", "last.pt", "best.pt")
    }


def test_windows_locks_a_byte_far_behind_the_name(tmp_path, monkeypatch):
    """With a stand-in for its module: what is locked, and that a refusal is one."""
    taken: set[int] = set()

    def locking(file: int, mode: int, count: int) -> None:
        place = os.lseek(file, 0, os.SEEK_CUR)
        assert (mode, count) == (7, 1)
        if place in taken:
            raise OSError(errno.EACCES, "Permission denied")
        taken.add(place)

    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=7))
    held = Lock(tmp_path)
    assert held.works
    assert taken == {2**30}
    with pytest.raises(UsageError, match=f"in use by process {os.getpid()} on "):
        Lock(tmp_path)
    assert (tmp_path / ".lock").stat().st_size < 300
    held.release()
