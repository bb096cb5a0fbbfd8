"""Going on with a run: its directory reopened, its last checkpoint loaded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metacli.config.keys import flat
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.training import checkpoint
from metacli.training.provenance import DIVIDED_OTHERWISE, Provenance
from metacli.training.rundir import RunDir


class Start(NamedTuple):
    """What a run goes on from.

    Attributes:
        step: updates of theta so far.
        best: the best validation score so far, None before the first.
        meter: of the steps since the last line of the log; see `Meter.state`.
    """

    step: int = 0
    best: float | None = None
    meter: Tensor | None = None


def reopen(path: Path, recipe: Recipe) -> RunDir:
    """The run directory at `path`, not held yet, if the same recipe made it.

    Raises:
        UsageError: it is no run directory, or the recipe differs; names every key that does.
    """
    rundir, before = RunDir.reopen(path)
    if changed := _changes(before, recipe, "in the run", "now"):
        raise UsageError([f"{path} was made by another recipe", *changed], f"metacli train --resume {path}")
    return rundir


def _changes(one: Recipe, two: Recipe, here: str, there: str) -> list[str]:
    """The keys in which two recipes differ, with what they are in either."""
    old, new = flat(one.as_dict()), flat(two.as_dict())
    return [f"{k}: {old.get(k)} {here}, {new.get(k)} {there}" for k in sorted(old | new) if old.get(k) != new.get(k)]


def restore(
    rundir: RunDir, recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, provenance: Provenance
) -> Start:
    """Load the run's last checkpoint into model and optimiser, and where it goes on from; without one, from the start.

    Args:
        recipe: that of the run directory.
        provenance: that of the tasks as they are now.

    Raises:
        UsageError: the data are no longer those that the run was trained on.
        MetacliError: the checkpoint or the log cannot be read, or is not this run's.
    """
    if not rundir.last.exists():
        rundir.rewind(0)
        return Start()
    saved = checkpoint.load(rundir.last)
    if changed := _changes(saved.recipe, recipe, f"in {rundir.last.name}", "in recipe.yaml"):
        raise UsageError(
            [f"{rundir.last} was made by another recipe than recipe.yaml tells", *changed],
            "change recipe.yaml back, or start another run",
        )
    if saved.provenance is None and saved.recipe.task.name in DIVIDED_OTHERWISE:
        raise UsageError(
            f"{rundir.path}: the run began before {saved.recipe.task.name} divided its classes as it does now",
            "start a new run: this one would train on classes that it had held out",
        )
    if saved.provenance and (changes := saved.provenance.changes(provenance)):
        raise UsageError(
            [f"{rundir.path}: the data have changed since the run began", *changes],
            "bring the data back, or start a new run: this one would train on classes that it had held out",
        )
    saved.restore(model, optimizer)
    rundir.rewind(saved.step)
    return Start(saved.step, saved.best, saved.meter)
