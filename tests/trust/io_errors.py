"""An I/O error at the n-th call, of whatever kind: one line, or the right result; nothing good is lost."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from metacli.checkpoints import file_format
from tests.trust.disks import start
from tests.trust.faults import BROKEN
from tests.trust.kills import lived, memory, prepare
from tests.trust.nursery import Ended, Nursery

TOLD = "Input/output error"
FAR = 10**9  # a call that never comes: the calls are only counted
COMMANDS: list[list[Any]] = [
    ["sample-tasks", "folder.yaml", "--json"],
    ["sample-tasks", "copy.yaml", "--json", "--png", "tasks.png", "--npz", "tasks.npz"],
    ["eval", "-c", "kept", "--tasks", 9, "--json"],
    ["inspect-memory", "-c", "kept", "--out", "look", "--format", "npz,html,json", "--json"],
    ["predict", "--support", "pictures/test", "--query", "pictures/val/class4", "--json", "--csv", "a.csv"],
    ["curves", "kept", "--json", "--csv", "c.csv"],
    ["runs", ".", "--json"],
    ["recipes", "smoke", "--json"],
]
READ = ("kept", "pictures", "copy.yaml", "folder.yaml")  # what the commands are given


def main(times: int, seed: int) -> str:
    """Break `times` trainings, and each of COMMANDS about as often in all; a line of figures.

    Raises:
        AssertionError: a traceback, another result with exit status 0, a changed input, or a run that cannot go on.
    """
    with tempfile.TemporaryDirectory(dir=memory()) as temporary, Nursery(Path(temporary)) as nursery:
        prepare(nursery.folder)
        draw = random.Random(seed)
        failed = sum(trained(nursery, name, times // 2, draw) for name in ("copy", "folder"))
        refused = commands(nursery, times, draw)
    return f"{failed} of {times} trainings failed and went on to the same weights; {refused} of {times} commands failed"


def trained(nursery: Nursery, name: str, times: int, draw: random.Random) -> int:
    """Trainings that are broken at random calls, resumed, and compared with one that was not: how many failed."""
    lived(nursery, name, {})
    run, failed = nursery.folder / "run", 0
    shutil.rmtree(nursery.folder / "kept", ignore_errors=True)
    kept = {kind: saved_weights(run, kind) for kind in ("last", "best")}
    run.rename(nursery.folder / "kept")
    calls = nursery.run(*start(name), fault=BROKEN[0], at=FAR).calls
    for _ in range(times):
        shutil.rmtree(run, ignore_errors=True)
        if draw.random() < 0.5:
            shutil.rmtree(nursery.folder / "cache", ignore_errors=True)
        ended = nursery.run(*start(name), fault=draw.choice(BROKEN), at=draw.randint(1, calls))
        check(ended)
        failed += ended.code != 0
        if "note: " in ended.err and TOLD in ended.err:  # a folder that could not be listed was left out
            continue
        if ended.code or not (run / "last.safetensors").exists():
            again = ["train", "--resume", "run", "--threads", 1] if (run / "recipe.yaml").exists() else start(name)
            resumed = nursery.run(*again)
            assert resumed.code == 0, f"after {ended.err[-300:]}: {resumed.err}"
        for kind, weights in kept.items():
            same = torch.equal(weights, saved_weights(run, kind))
            assert same, f"after {ended.err[-300:]}: another {kind}"
    return failed


def saved_weights(run: Path, kind: str) -> torch.Tensor:
    """The weights and the optimizer's state of a whole checkpoint. The environment that it names may differ."""
    tensors = file_format.read_file(run / f"{kind}.safetensors")[1]
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


def commands(nursery: Nursery, times: int, draw: random.Random) -> int:
    """The other verbs, broken at random calls: how many failed."""
    whole = {}
    for i, args in enumerate(COMMANDS):
        nursery.run(*args)  # prepares what the cache keeps
        whole[i] = nursery.run(*args, fault=BROKEN[0], at=FAR)
        assert whole[i].code == 0, whole[i].err
    inputs, failed = contents(nursery.folder), 0
    for n in range(times):
        i = n % len(COMMANDS)
        ended = nursery.run(*COMMANDS[i], fault=draw.choice(BROKEN), at=draw.randint(1, whole[i].calls))
        check(ended)
        failed += ended.code != 0
        told = TOLD in ended.err + ended.out  # of one picture of several, say
        assert ended.code or told or result(ended) == result(whole[i]), f"{COMMANDS[i]}: another result without a word"
        assert contents(nursery.folder) == inputs, f"{COMMANDS[i]} changed what it was given"
    return failed


def result(ended: Ended) -> Any:
    """What a command printed, but for the environment, a part of which may have been unreadable."""
    found = json.loads(ended.out)
    return {key: value for key, value in found.items() if key != "environment"} if isinstance(found, dict) else found


def contents(folder: Path) -> dict[Path, bytes]:
    """The files that the commands read, but for the result of `eval` and the temporary file that it is written to."""
    paths = [p for name in READ for p in (folder / name, *(folder / name).rglob("*")) if p.is_file()]
    return {path: path.read_bytes() for path in paths if "eval.json" not in path.name}


def check(ended: Ended) -> None:
    """Whether a command that failed said so."""
    assert ended.code in (0, 1, 2), (ended.code, ended.err)
    assert "Traceback" not in ended.err, ended.err
    assert not ended.code or any(line.startswith("error: ") for line in ended.err.splitlines()), ended.err
