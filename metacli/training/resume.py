"""Going on with a run: its directory reopened, its last checkpoint loaded."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from metacli.config.keys import flat
from metacli.config.recipe import Recipe
from metacli.errors import MetacliError, UsageError
from metacli.machine import launch
from metacli.training import checkpoint
from metacli.training.provenance import DIVIDED_OTHERWISE, Provenance
from metacli.training.rundir import RunDir


def reopen(path: Path, recipe: Recipe) -> RunDir:
    """The run directory at `path`, if the same recipe made it.

    Raises:
        UsageError: it is no run directory, or the recipe differs; names every key that does.
    """
    rundir, before = RunDir.reopen(path)
    old, new = flat(before.as_dict()), flat(recipe.as_dict())
    changed = [f"{k}: {old.get(k)} in the run, {new.get(k)} now" for k in sorted(old | new) if old.get(k) != new.get(k)]
    if changed:
        raise UsageError("\n".join([f"{path} was made by another recipe", *changed]), f"metacli train --resume {path}")
    return rundir


def going_on(run: Path | None, resume: Path | None, recipe: Recipe) -> RunDir | None:
    """The run at `resume`; or, where torchrun has had to start its processes anew, the one that they had begun.

    Args:
        run: where a new run would be written; None for anywhere.

    Returns:
        None for a new run.

    Raises:
        UsageError: see `reopen`.
    """
    if resume is None and (launched := launch.identity()):
        places = [run] if run else sorted((Path("runs") / recipe.name).glob("*"), reverse=True)
        resume = next((place for place in places if RunDir(place).launched_by() == launched), None)
    return reopen(resume, recipe) if resume else None


def restore(
    rundir: RunDir, model: nn.Module, optimizer: torch.optim.Optimizer, provenance: Provenance
) -> tuple[int, float | None]:
    """Load the run's last checkpoint into model and optimiser: (step, best score). Without one: from the start.

    Args:
        provenance: that of the tasks as they are now.

    Raises:
        UsageError: the data are no longer those that the run was trained on.
        MetacliError: the checkpoint cannot be read.
    """
    if not rundir.last.is_file():
        rundir.rewind(0)
        return 0, None
    saved = checkpoint.load(rundir.last)
    if saved.provenance is None and saved.recipe.task.name in DIVIDED_OTHERWISE:
        raise UsageError(
            f"{rundir.path}: the run began before {saved.recipe.task.name} divided its classes as it does now",
            "start a new run: this one would train on classes that it had held out",
        )
    if saved.provenance and (changes := saved.provenance.changes(provenance)):
        raise UsageError(
            "\n".join([f"{rundir.path}: the data have changed since the run began", *changes]),
            "bring the data back, or start a new run: this one would train on classes that it had held out",
        )
    model.load_state_dict(saved.model)
    if saved.optimizer is None:
        raise MetacliError(f"{rundir.last}: holds no optimiser state, so training cannot go on from it")
    optimizer.load_state_dict(saved.optimizer)
    if saved.random is not None:
        checkpoint.set_random_states(saved.random)
    rundir.rewind(saved.step)
    return saved.step, saved.best
