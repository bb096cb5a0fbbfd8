"""One recipe with several seeds: each a run of its own in a process of its own, then evaluated; median and spread."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

from metacli.errors import MetacliError, UsageError
from metacli.system.signals import StopSignal

_LOOK = 0.1  # seconds between two looks at what runs


@dataclass
class Seed:
    """The run of one seed, and what is left to do for it.

    Attributes:
        number: the seed.
        run: its run directory.
        commands: arguments of `metacli` that are still to run, in order; each prints JSON.
        results: what those that are done printed.
        process: the command that runs, None between two.
        printed: its stdout, a file: a pipe holds less than an evaluation prints, and nobody would empty it.
        code: exit status of the command that failed, else 0.
    """

    number: int
    run: Path
    commands: list[list[str]]
    results: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    printed: IO[bytes] | None = None
    code: int = 0

    @property
    def log(self) -> Path:
        """Where its messages go while others run beside it."""
        return self.run.with_name(f"{self.run.name}.log")


def parse(text: str) -> list[int]:
    """Seeds from `0,1,2`.

    Raises:
        UsageError: it is no such list, or one is there twice.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text!r} is no list of whole numbers", "as in --seeds 0,1,2") from None
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text!r} has one of them twice")
    return seeds


def work(seeds: list[Seed], jobs: int, say: Callable[[str], object]) -> int:
    """Run the commands of all seeds, `jobs` seeds at a time; a signal is passed on, so that all save.

    Each writes its own messages to stderr where only one runs at a time, else to its log.

    Returns:
        0, or the exit status of the first that failed or was stopped; the others are still finished unless stopped.
    """
    with StopSignal() as stop:
        passed = False
        try:
            while any(s.process for s in seeds) or (not stop.code and any(s.commands and not s.code for s in seeds)):
                for s in seeds:
                    _look(s, say)
                if stop.code and not passed:
                    _send(seeds, stop.code - 128)
                    passed = True
                free = jobs - sum(s.process is not None for s in seeds)
                for s in [s for s in seeds if not (s.process or s.code) and s.commands][:free]:
                    if not stop.code:
                        _start(s, jobs, say)
                time.sleep(_LOOK)
        except BaseException:
            for s in seeds:
                if s.process is not None:
                    s.process.terminate()  # nothing goes on by itself when this process is gone
            raise
    return stop.code or next((s.code for s in seeds if s.code), 0)


def _start(s: Seed, jobs: int, say: Callable[[str], object]) -> None:
    s.run.parent.mkdir(parents=True, exist_ok=True)
    verb = s.commands[0][0]
    say(f"seed {s.number}: {verb}" + (f", messages in {s.log}" if jobs > 1 else ""))
    s.printed = tempfile.TemporaryFile()  # noqa: SIM115  `_look` closes it
    with open(s.log, "ab") if jobs > 1 else nullcontext() as messages:
        s.process = subprocess.Popen(
            [sys.executable, "-m", "metacli", *s.commands[0]],
            stdout=s.printed,
            stderr=messages,
            start_new_session=True,  # a Ctrl-C in the terminal reaches this process alone, which passes it on once
        )


def _look(s: Seed, say: Callable[[str], object]) -> None:
    """Take in what a command that has ended printed."""
    if s.process is None or s.printed is None or s.process.poll() is None:
        return
    with s.printed as printed:
        printed.seek(0)
        out = printed.read()
    s.code, s.process = s.process.returncode, None
    verb = s.commands.pop(0)[0]
    if s.code:
        say(f"seed {s.number}: {verb} ended with exit status {s.code}")
    else:
        s.results.append(json.loads(out))


def _send(seeds: list[Seed], number: int) -> None:
    for s in seeds:
        if s.process is not None and s.process.poll() is None:
            s.process.send_signal(number)


def summary(folder: Path, recipe: str, seeds: list[Seed]) -> dict[str, Any]:
    """What all of them reached on test tasks; its keys are part of the interface and documented in docs/cli.md.

    Raises:
        MetacliError: one of them is not finished.
    """
    rows = []
    for s in seeds:
        if len(s.results) < 2:
            raise MetacliError(f"seed {s.number} is not finished")
        trained, tested = s.results
        name, kind = next(iter(tested["metrics"].items()))
        score = tested[kind["key"]]
        rows.append({"seed": s.number, "run_dir": str(s.run), "step": tested["step"], "best": trained["best"], **score})
    means = [row["mean"] for row in rows]
    spread = {"median": median(means), "lowest": min(means), "highest": max(means)}
    return {
        "run_dir": str(folder),
        "recipe": recipe,
        "metric": {"name": name, **kind},
        "n_tasks": tested["n_tasks"],
        "seeds": rows,
        **spread,
    }
