"""Wall time and peak memory of `metacli train`, from the command to its end or to a stated validation score."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from metacli.errors import MetacliError

INTERVAL = 0.05  # seconds between two looks at the run


@dataclass(frozen=True)
class Command:
    """A training command that is timed.

    Attributes:
        name: the name that `--only` matches.
        title: what the time ends with.
        arguments: those of `metacli train`.
        metric: the validation metric that ends the measurement; empty to wait for the command's end.
        is_reached: whether a value of the metric is the stated result.
        repeats: number of runs; the median counts.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    metric: str = ""
    is_reached: Callable[[float], bool] = lambda _: False
    repeats: int = 1


_SOLVED = Command(
    "train-copy", "copy without a wrong bit", ("copy_ntm", "--threads", "1"), "errors", lambda errors: errors == 0
)
_STROKES = Command(
    "train-5w1s",
    "strokes, 5-way 1-shot, 95 %",
    ("strokes_transformer", "--threads", "1"),
    "accuracy",
    lambda accuracy: accuracy >= 0.95,
)
_OMNIGLOT = Command(
    "train-5w1s",
    "Omniglot, 5-way 1-shot, 95 %",
    (
        "omniglot_transformer",
        "train.encoder_from=",
        "model.encoder={kind: conv, channels: 32, size: 64, normalise: true}",
        "train.eval_every=250",
        "train.eval_tasks=200",
        "--threads",
        "1",
    ),
    "accuracy",
    lambda accuracy: accuracy >= 0.95,
)
COMMANDS = [
    Command("train-first-step", "first step", ("smoke", "train.steps=1"), repeats=5),
    _SOLVED,
    _OMNIGLOT if os.environ.get("METACLI_DATA") else _STROKES,
]


def run_command(command: Command, quick: bool = False) -> dict[str, Any]:
    """Returns the figures of a command: median `seconds`, `steps` at that time, and `peak_mib`.

    Args:
        quick: run once, for one step.

    Raises:
        MetacliError: the command fails, or ends without the stated result.
    """
    arguments = [*command.arguments, *(["train.steps=1"] if quick and command.metric else [])]
    repeats = 1 if quick else command.repeats
    runs = [_run(command, arguments) for _ in tqdm(range(repeats), desc=command.name, disable=None)]
    if command.metric and not quick and not all(run["result"] for run in runs):
        raise MetacliError(f"{command.name}: the run ended without the stated result: {command.title}")
    text = "metacli train " + " ".join(f"'{a}'" if " " in a else a for a in arguments)
    peaks = [run["peak_mib"] for run in runs if run["peak_mib"]]
    return {
        "name": command.name,
        "title": "first step" if quick else command.title,
        "command": text,
        "seconds": statistics.median(run["seconds"] for run in runs),
        "steps": (runs[0]["result"] or {"step": 1})["step"],
        "peak_mib": max(peaks) if peaks else None,
    }


def _run(command: Command, arguments: list[str]) -> dict[str, Any]:
    """Runs a command in a new folder, and stops it when its result is reached."""
    with TemporaryDirectory() as folder:
        run_dir, errors = Path(folder) / "run", Path(folder) / "stderr"
        start = time.perf_counter()
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "metacli", "train", *arguments, "--quiet", "--run-dir", str(run_dir)],
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        peak, result = None, None
        try:
            while process.poll() is None and not result:
                time.sleep(INTERVAL)
                peak = _peak_mib(process.pid) or peak
                result = _find_result(command, run_dir)
            seconds = time.perf_counter() - start
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode and not result:
            raise MetacliError(f"{command.name} failed: {errors.read_text().strip()[-500:]}")
        return {"seconds": seconds, "peak_mib": peak, "result": result or _find_result(command, run_dir)}


def _find_result(command: Command, run_dir: Path) -> dict[str, Any] | None:
    """Returns the first line of the log whose validation reaches the stated result."""
    log = run_dir / "metrics.jsonl"
    for line in log.read_text().splitlines(keepends=True) if command.metric and log.is_file() else []:
        record = json.loads(line) if line.endswith("\n") else {}
        if "val" in record and command.is_reached(record["val"][command.metric]):
            return record
    return None


def _peak_mib(pid: int) -> float | None:
    """Returns the peak resident memory of a process so far, on Linux."""
    try:
        match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(match[1]) / 2**10 if match else None
