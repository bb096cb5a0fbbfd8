"""A disk that fills, and a file system that turns read-only: the last good state stays, and the run can go on.

The system's refusals are made up at random calls, and met in earnest on a small disk in memory where this user may
mount one.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.trust.faults import fill
from tests.trust.kills import digest, lived, memory, prepare
from tests.trust.nursery import ROOT, Ended, Nursery

MOMENTS = 30  # of each kind, a time
SAID = {"full": "No space left on device", "filled": "No space left on device", "read-only": "Read-only file system"}
OWN_MOUNTS = ("unshare", "-rm")  # a namespace of its own, where a user may mount


def main(times: int, seed: int) -> str:
    """`MOMENTS` moments of each fault `times` times, and each kind of file on a real disk; a line of figures.

    Raises:
        AssertionError: something good was lost, the exit status or the message was wrong, or a run could not go on.
    """
    with tempfile.TemporaryDirectory(dir=memory()) as temporary:
        top = Path(temporary)
        prepare(top)
        with Nursery(top) as nursery:
            failed = {fault: at_moments(nursery, fault, times * MOMENTS, seed) for fault in ("full", "read-only")}
    line = f"{failed['full']} runs on a disk that fills and {failed['read-only']} on one that turns read-only went on"
    return f"{line} to the same weights; {in_earnest()}"


def at_moments(nursery: Nursery, fault: str, count: int, seed: int) -> int:
    """Trainings whose file system fails at random calls, then again, and so on to the end: how many failed."""
    draw, failed = random.Random(seed), 0
    name = "copy"
    whole = lived(nursery, name, {})
    run = nursery.folder / "run"
    for _ in range(count):
        shutil.rmtree(run, ignore_errors=True)
        ended = nursery.run(*start(name), fault=fault, at=draw.randint(1, 130))
        failed += ended.code != 0
        check(ended, fault, run)
        options = ["train", "--resume", "run", "--threads", 1] if (run / "recipe.yaml").exists() else start(name)
        again = nursery.run(*options)
        assert again.code == 0, again.err
        for kind in ("last", "best"):
            assert digest(run / f"{kind}.safetensors") == whole[kind], (
                f"after {ended.err[-300:]}: another {kind}.safetensors"
            )
        rubbish = [path.name for path in run.glob("*.part")]
        assert not rubbish, rubbish
    return failed


def start(name: str) -> list[Any]:
    """A new run."""
    return ["train", f"{name}.yaml", "--run-dir", "run", "--threads", 1]


def check(ended: Ended, fault: str, run: Path) -> None:
    """Whether a training that failed said what and how much, and left what was good."""
    assert ended.code in (0, 1), ended.err
    assert "Traceback" not in ended.err, ended.err
    if ended.code:
        assert "error: cannot write " in ended.err, ended.err
        assert SAID[fault] in ended.err, ended.err
        assert "hint: " in ended.err, ended.err
        if SAID[fault].startswith("No space") and "cannot write the run" not in ended.err:
            assert " to write, " in ended.err, ended.err
            assert " free" in ended.err, ended.err
    for file in run.glob("*.safetensors"):
        digest(file)


def in_earnest() -> str:
    """The same on a disk of a megabyte, in a process that may mount one: a line of figures, or why not."""
    try:
        subprocess.run([*OWN_MOUNTS, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return "no disk can be mounted here to try it in earnest"
    command = [*OWN_MOUNTS, sys.executable, "-m", "tests.trust.disks"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def on_a_real_disk() -> str:
    """Mount a small disk; fill it while each kind of file is written, then turn it read-only."""
    with tempfile.TemporaryDirectory(dir=memory()) as temporary:
        top = Path(temporary)
        mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", top)
        try:
            prepare(top)
            with Nursery(top) as nursery:
                return _tried(nursery, top)
        finally:
            subprocess.run(["umount", "-l", top], check=True)


def _tried(nursery: Nursery, top: Path) -> str:
    whole = lived(nursery, "copy", {})
    run = top / "run"
    filled = 0
    for at in range(8, 120, 9):  # while a run is written
        shutil.rmtree(run)
        ended = nursery.run(*start("copy"), fault="filled", at=at)
        (top / "filler").unlink()
        check(ended, "filled", run)
        filled += ended.code
        again = nursery.run("train", "--resume", "run", "--threads", 1) if run.exists() else nursery.run(*start("copy"))
        assert again.code == 0, again.err
        assert digest(run / "last.safetensors") == whole["last"]
    nursery.run("eval", "-c", "run", "--tasks", 9)
    kept = _content(top)
    filler = fill(top)
    kinds = _refused(nursery, "full")
    filler.unlink()
    mount("-o", "remount,ro", top)
    kinds += _refused(nursery, "read-only")
    assert _content(top) == kept
    assert not (top / "new").exists()
    return f"on a real small disk {filled} runs that filled it, and {kinds} refusals by kind of file, nothing lost"


def _content(top: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}


def _refused(nursery: Nursery, fault: str) -> int:
    """Each kind of file where none can be written: how many were tried."""
    for args, file in KINDS:
        ended = nursery.run(*args)
        assert ended.code == 1, (args, ended.err)
        assert "Traceback" not in ended.err, ended.err
        assert f"error: cannot write {file}" in ended.err.replace("the folder ", ""), (args, ended.err)
        assert SAID[fault] in ended.err, (args, ended.err)
        assert fault != "full" or " to write, 0 bytes free" in ended.err, (args, ended.err)
        assert "hint: " in ended.err, (args, ended.err)
    result = nursery.run("eval", "-c", "run", "--tasks", 20, "--json")
    assert result.code == 0, result.err
    assert '"n_tasks": 20' in result.out
    assert "note: eval.json is not written: cannot write run/eval.json" in result.err
    assert SAID[fault] in result.err
    cached = nursery.run("sample-tasks", "folder.yaml")
    assert cached.code == 0, cached.err
    assert "continuing without" in cached.err, cached.err
    return len(KINDS) + 2


KINDS: list[tuple[list[Any], str]] = [
    (["train", "copy.yaml", "--run-dir", "new"], ""),
    (["sample-tasks", "copy.yaml", "--png", "tasks.png"], "tasks.png"),
    (["sample-tasks", "copy.yaml", "--npz", "tasks.npz"], "tasks.npz"),
    (["inspect-memory", "-c", "run", "--out", "look", "--format", "npz"], "look"),
    (["inspect-memory", "-c", "run", "--out", "look", "--format", "html"], "look"),
    (["inspect-memory", "-c", "run", "--out", "look", "--format", "json"], "look"),
    (["recipes", "smoke", "--copy", "mine.yaml"], "mine.yaml"),
    (["predict", "--support", "pictures/test", "--query", "pictures/val/class4", "--png", "sheet.png"], "sheet.png"),
]


def mount(*args: object) -> None:
    """The system's command."""
    subprocess.run(["mount", *map(str, args)], check=True)


if __name__ == "__main__":
    print(on_a_real_disk())
