"""Going on with a run: its directory reopened, its last checkpoint loaded."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import DIVIDED_OTHERWISE, Provenance
from metacli.compute import torchrun
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.runs.directory import RunDir
from metacli.runs.extend import FREE, changes, with_new_schedule


class Start(NamedTuple):
    """What a run goes on from.

    Attributes:
        provenance: the classes of its tasks and of the weights that it began from.
        step: updates of theta so far.
        best: the best validation score so far, None before the first.
        meter: of the steps since the last line of the log; see `Meter.state`.
    """

    provenance: Provenance
    step: int = 0
    best: float | None = None
    meter: Tensor | None = None


def reopen(path: Path, recipe: Recipe) -> RunDir:
    """The run directory at `path`, not held yet, if the same recipe made it, but for keys that may change on the way.

    Raises:
        UsageError: it is no run directory, or the recipe differs; names every key that does.
    """
    rundir, before = RunDir.reopen(path)
    if changed := _fixed(before, recipe, "in the run", "now"):
        raise UsageError([f"{path} was made by another recipe", *changed], f"metacli train --resume {path}")
    return rundir


def _fixed(before: Recipe, after: Recipe, here: str, there: str) -> list[str]:
    """The keys in which two recipes differ and that may not change on the way, with what they are in either."""
    return [line for key, line in changes(before, after, here, there).items() if key not in FREE]


def find_run_to_resume(run: Path | None, resume: Path | None, recipe: Recipe) -> RunDir | None:
    """The run at `resume`; or, where torchrun has had to start its processes anew, the one that they had begun.

    Args:
        run: where a new run would be written; None for anywhere.

    Returns:
        None for a new run; else not held yet.

    Raises:
        UsageError: see `reopen`.
    """
    if resume is None and (launched := torchrun.launch_id()):
        places = [run] if run else sorted((Path("runs") / recipe.name).glob("*"), reverse=True)
        resume = next((place for place in places if RunDir(place).launched_by() == launched), None)
    return reopen(resume, recipe) if resume else None


def next_recipe(path: Path, recipe: Recipe | None, overrides: list[str]) -> Recipe:
    """The recipe that the run at `path` goes on by: its own, with keys changed that may change on the way.

    Args:
        recipe: one that was given for it and is to be the same, were it in the number of steps; None for its own.
        overrides: KEY=VALUE to change in its own.

    Raises:
        UsageError: it is no run directory, the recipe differs, or a key cannot change any more; names every such key.
    """
    before = RunDir.reopen(path)[1]
    if recipe is None:
        return with_new_schedule(before, overrides, str(path))
    if changed := changes(before, recipe):
        hint = f"leave the recipe out: metacli train --resume {path}, with train.steps=N to change its length"
        raise UsageError([f"{path} was made by another recipe", *changed.values()], hint)
    return recipe


def restore(
    rundir: RunDir, recipe: Recipe, model: nn.Module, optimizer: torch.optim.Optimizer, provenance: Provenance
) -> Start:
    """Load the run's last checkpoint into model and optimiser, and where it goes on from; without one, from the start.

    Args:
        recipe: by which the run goes on.
        provenance: that of the tasks as they are now.

    Raises:
        UsageError: the data are no longer those that the run was trained on, more steps are done than the recipe has,
            or the weights that it was to begin from were not saved yet.
        MetacliError: the checkpoint or the log cannot be read, or is not this run's.
    """
    if not rundir.last.exists():
        if init := rundir.environment().get("init"):
            file = init.get("path") if isinstance(init, dict) else init
            raise UsageError(
                f"{rundir.path}: ended before the weights that it was to begin from were saved",
                f"start it anew, with --init {file}",
            )
        rundir.rewind(0)
        return Start(provenance)
    saved = checkpoint.load(rundir.last)
    if changed := _fixed(saved.recipe, recipe, f"in {rundir.last.name}", "in recipe.yaml"):
        raise UsageError(
            [f"{rundir.last} was made by another recipe than recipe.yaml tells", *changed],
            "change recipe.yaml back, or start another run",
        )
    if saved.step > recipe.train.steps:
        raise UsageError(
            f"train.steps: {recipe.train.steps:,} in all, but {saved.step:,} are done", "name as many or more"
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
    if saved.provenance:
        provenance = provenance.with_history(saved.provenance.initialised_from, saved.provenance.initial_encoders)
    return Start(provenance, saved.step, saved.best, saved.meter)
