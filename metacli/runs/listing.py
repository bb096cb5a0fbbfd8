"""List run directories, and compare their recipes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from metacli.config.keys import flatten
from metacli.errors import MetacliError, UsageError
from metacli.runs.directory import RunDirectory
from metacli.runs.learning_curves import Curve, read_curve
from metacli.system import terminal
from metacli.system.lock import is_held

_DEPTH = 4  # folders below the listed one that are searched
State = Literal["running", "finished", "stopped"]


@dataclass(frozen=True)
class RunSummary:
    """How far a run is.

    Attributes:
        curve: its scores so far.
        modified: when its log was last written, in seconds since 1970.
        state: `running` while a process holds its lock; `finished` at its last step; else `stopped`.
    """

    curve: Curve
    modified: float
    state: State

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values. Its keys are part of the interface; docs/cli.md describes them."""
        c = self.curve
        return {
            "run": str(c.run),
            "recipe": c.recipe.name,
            "seed": c.recipe.seed,
            "step": c.last_step,
            "steps": c.recipe.train.steps,
            "best": c.best_score,
            "modified": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.modified)),
            "state": self.state,
        }


def list_runs(folder: Path) -> list[RunSummary]:
    """Returns the runs in a folder and its subfolders, the most recently written first.

    A run that cannot be read is left out, with a note on stderr.

    Raises:
        UsageError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}", "metacli train strokes_ntm writes its run to runs/strokes_ntm/")
    runs = []
    for path in find_runs(folder):
        try:
            runs.append(summarize_run(path))
        except MetacliError as error:
            terminal.print_to_stderr(f"note: left out {path}: {error.message}")
    if not runs:
        raise UsageError(f"{folder} holds no run", "a run directory holds a recipe.yaml")
    return sorted(runs, key=lambda run: (-run.modified, str(run.curve.run)))


def find_runs(folder: Path) -> list[Path]:
    """Returns the run directories in a folder: the folder itself, or those below it."""
    found = []

    def report(error: OSError) -> None:
        terminal.print_to_stderr(f"note: left out {error.filename}: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=report):
        path = Path(place)
        if "recipe.yaml" in files:
            found.append(path)
        if "recipe.yaml" in files or len(path.relative_to(folder).parts) >= _DEPTH:
            folders.clear()
    return sorted(found)


def summarize_run(path: Path) -> RunSummary:
    """Returns how far a run is.

    Raises:
        MetacliError: it is not a run directory, or its files are damaged.
    """
    curve, log = read_curve(path), path / "metrics.jsonl"
    is_finished = curve.last_step >= curve.recipe.train.steps
    state: State = "running" if is_held(path) else "finished" if is_finished else "stopped"
    return RunSummary(curve, os.stat(log if log.exists() else path / "recipe.yaml").st_mtime, state)


def recipe_differences(paths: list[Path]) -> dict[str, list[Any]]:
    """Returns the recipe keys whose values differ between runs, each with the value of every run, None for no key.

    Raises:
        MetacliError: one of the paths is not a run directory, or its recipe is damaged.
    """
    recipes = [flatten(RunDirectory.open(path)[1].as_dict()) for path in paths]
    keys = sorted(set().union(*recipes))
    values = {key: [recipe.get(key) for recipe in recipes] for key in keys}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}
