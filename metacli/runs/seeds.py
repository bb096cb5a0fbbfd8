"""One recipe with several seeds: separate processes train and evaluate each seed."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from metacli.errors import UsageError
from metacli.system import terminal
from metacli.system.signals import StopSignal

EVALUATION_TASKS = 1000  # test tasks for each best checkpoint
_POLL_SECONDS = 0.1  # between two checks for a signal


def parse_seeds(text: str) -> list[int]:
    """Returns the seeds of a list such as `0,1,2`. Raises a UsageError for another text, or for a seed that repeats."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers", "for example: --seeds 0,1,2") from None
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {text!r} names a seed twice")
    return seeds


@dataclass
class SeedRuns:
    """One run for each seed.

    Attributes:
        recipe: the recipe and KEY=VALUE, as arguments of `metacli train`.
        seeds: the seeds.
        folder: holds the run directory `seedN` of each.
        options: further arguments of `metacli train` and `metacli eval`.
        jobs: how many seeds run side by side. With more than one, messages go to `seedN.log` instead of stderr.
        results: by seed, the JSON results of training and of evaluation.
    """

    recipe: list[str]
    seeds: list[int]
    folder: Path
    options: list[str]
    jobs: int = 1
    results: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock, self._stopped = Lock(), False
        self._children: list[subprocess.Popen[bytes]] = []

    def execute(self) -> int:
        """Train and evaluate all seeds. A signal is passed on to the processes once, so that each saves its run.

        Returns:
            0, or the exit status of the signal, or of the first seed that failed. The other seeds are finished first.
        """
        with StopSignal() as stop, ThreadPoolExecutor(self.jobs) as pool:
            try:
                futures = [pool.submit(self._run, seed) for seed in self.seeds]
                while wait(futures, _POLL_SECONDS).not_done and not stop.code:
                    pass
                if stop.code:
                    self._stop(stop.code - 128)
                codes = [future.result() for future in futures]
            except BaseException:
                self._stop()  # no child outlives this process
                raise
        return stop.code or next((code for code in codes if code), 0)

    def summary(self, recipe: str) -> dict[str, Any]:
        """Returns the test scores, once all seeds are executed. docs/cli.md describes the keys."""
        rows = []
        for seed in self.seeds:
            trained, tested = self.results[seed]
            name, metric = next(iter(tested["metrics"].items()))
            key = metric["key"]
            run = {"seed": seed, "run_dir": str(self._path(seed)), "step": tested["step"], "best": trained["best"]}
            rows.append({**run, key: tested[key]})
        means = [row[key]["mean"] for row in rows]
        return {
            "run_dir": str(self.folder),
            "recipe": recipe,
            "metrics": {name: metric},
            "n_tasks": tested["n_tasks"],
            "seeds": rows,
            "median": median(means),
            "lowest": min(means),
            "highest": max(means),
        }

    def _path(self, seed: int) -> Path:
        return self.folder / f"seed{seed}"

    def _run(self, seed: int) -> int:
        """Train and evaluate one seed. Returns the exit status of the command that failed, or 0."""
        path, results = self._path(seed), []
        location = ["--resume" if (path / "recipe.yaml").is_file() else "--run-dir", str(path)]
        training = ["train", *self.recipe, f"seed={seed}", *location]
        for command in (training, ["eval", "--checkpoint", str(path), "--tasks", str(EVALUATION_TASKS)]):
            child = self._start(seed, [*command, *self.options, "--json"])
            if child is None:
                return 0
            results.append(child.communicate()[0])
            if child.returncode:
                terminal.print_to_stderr(f"seed {seed}: {command[0]} failed with exit status {child.returncode}")
                return child.returncode
        self.results[seed] = [json.loads(printed) for printed in results]
        return 0

    def _start(self, seed: int, command: list[str]) -> subprocess.Popen[bytes] | None:
        """Start a command; None after a signal."""
        log = self.folder / f"seed{seed}.log" if self.jobs > 1 else None
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock, open(log, "ab") if log else nullcontext() as messages:
            if self._stopped:
                return None
            terminal.print_to_stderr(f"seed {seed}: {command[0]}" + (f", messages in {log}" if log else ""))
            child = subprocess.Popen(
                [sys.executable, "-m", "metacli", *command],
                stdout=subprocess.PIPE,
                stderr=messages,
                start_new_session=True,  # Ctrl-C in a terminal reaches only this process, which passes it on once
            )
            self._children.append(child)
            return child

    def _stop(self, number: int | None = None) -> None:
        """Send a signal to all processes, or terminate them, and start no more."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                child.send_signal(number) if number else child.terminate()  # no effect on one that has ended
