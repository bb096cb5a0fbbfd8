"""Resume a run: find its directory, check its recipe, load its last checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metacli.checkpoints import checkpoint
from metacli.checkpoints.provenance import Provenance
from metacli.compute import torchrun
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.runs.directory import RunDirectory
from metacli.runs.extend import CHANGEABLE_KEYS, recipe_changes, with_new_schedule

# What the last bits of a result depend on besides the recipe and the data; see `metacli.compute.device.environment`.
_CONDITIONS = ("metacli", "torch", "numpy", "device", "gpu", "instructions", "threads", "precision", "scan")


class Start(NamedTuple):
    """What a run continues from.

    Attributes:
        provenance: the classes of its tasks and of the weights that it started from.
        step: updates of theta so far.
        best_score: the best validation score so far, None before the first validation.
        meter_rows: see `Meter.rows`, of the steps since the last line of the log.
    """

    provenance: Provenance
    step: int = 0
    best_score: float | None = None
    meter_rows: Tensor | None = None


def open_run(path: Path, recipe: Recipe) -> RunDirectory:
    """Returns the run directory at `path`, not locked, if no fixed key of its recipe differs.

    Raises:
        UsageError: it is not a run directory, or the recipe differs. Names every key that does.
    """
    directory, run_recipe = RunDirectory.open(path)
    if changed := _fixed_changes(run_recipe, recipe, "in the run", "now"):
        raise UsageError([f"{path} was made by another recipe", *changed], f"metacli train --resume {path}")
    return directory


def _fixed_changes(old_recipe: Recipe, new_recipe: Recipe, old_label: str, new_label: str) -> list[str]:
    """Returns the lines of `recipe_changes` whose keys cannot change during a run."""
    changes = recipe_changes(old_recipe, new_recipe, old_label, new_label)
    return [line for key, line in changes.items() if key not in CHANGEABLE_KEYS]


def find_run_to_resume(run: Path | None, resume: Path | None, recipe: Recipe) -> RunDirectory | None:
    """Returns the run at `resume`, or the run that the same launch of torchrun created before a restart.

    Args:
        run: where a new run would be written, None for the default place.
        resume: the run directory to resume, if given.
        recipe: of the run.

    Returns:
        A run directory, not locked; None for a new run.

    Raises:
        UsageError: see `open_run`.
    """
    if resume is None and (launch := torchrun.launch_id()):
        candidates = [run] if run else sorted((Path("runs") / recipe.name).glob("*"), reverse=True)
        resume = next((path for path in candidates if RunDirectory(path).launch_id() == launch), None)
    return open_run(resume, recipe) if resume else None


def recipe_to_resume(path: Path, recipe: Recipe | None, overrides: list[str]) -> Recipe:
    """Returns the recipe that the run at `path` continues with: its own, with some keys changed.

    Args:
        path: the run directory.
        recipe: a recipe that the user has named, which must equal that of the run; None if there is none.
        overrides: KEY=VALUE for keys of the run's recipe that may change.

    Raises:
        UsageError: it is not a run directory, the recipe differs, or a key cannot change. Names every such key.
    """
    run_recipe = RunDirectory.open(path)[1]
    if recipe is None:
        return with_new_schedule(run_recipe, overrides, str(path))
    if changed := recipe_changes(run_recipe, recipe):
        hint = f"leave the recipe out: metacli train --resume {path}. Set train.steps=N to change its length."
        raise UsageError([f"{path} was made by another recipe", *changed.values()], hint)
    return run_recipe


def restore(
    directory: RunDirectory,
    recipe: Recipe,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    provenance: Provenance,
    environment: dict[str, Any],
    report: Callable[[str], None],
) -> Start:
    """Load the run's last checkpoint into model and optimizer. Without a checkpoint, the run starts anew.

    Args:
        directory: of the run, locked.
        recipe: the one that the run continues with.
        model: of the recipe; its weights are replaced.
        optimizer: of the model; its state is replaced.
        provenance: of the tasks as they are now.
        environment: the versions and the hardware as they are now.
        report: called with a note if versions or hardware have changed.

    Raises:
        UsageError: the data have changed since the run was trained, more steps are done than the recipe has, or the
            run stopped before it saved its initial weights.
        MetacliError: the checkpoint or the log cannot be read, or is not this run's.
    """
    if not directory.last.exists():
        if init := directory.read_environment().get("init"):
            file = init.get("path") if isinstance(init, dict) else init
            raise UsageError(
                f"{directory.path}: the run stopped before it saved its initial weights",
                f"start a new run, with --init {file}",
            )
        directory.rewind_metrics(0)
        return Start(provenance)
    saved = checkpoint.load(directory.last)
    if changed := _fixed_changes(saved.recipe, recipe, f"in {directory.last.name}", "in recipe.yaml"):
        raise UsageError(
            [f"{directory.last} was made by another recipe than recipe.yaml", *changed],
            "change recipe.yaml back, or start another run",
        )
    if saved.step > recipe.train.steps:
        raise UsageError(
            f"train.steps is {recipe.train.steps:,}, but the run has done {saved.step:,} steps",
            f"set train.steps={saved.step} or more",
        )
    if changes := saved.provenance.changes(provenance):
        raise UsageError(
            [f"{directory.path}: the data have changed since the run began", *changes],
            f"restore the data, or start a new run; {directory.path / 'recipe.yaml'} keeps each class in its split",
        )
    saved.restore(model, optimizer)
    if changes := describe_changed_conditions(saved.environment or {}, environment):
        report(f"note: changed since the last checkpoint: {', '.join(changes)}")
        report("note: the result may differ slightly from that of a run that was never stopped")
    directory.rewind_metrics(saved.step)
    provenance = provenance.with_history(saved.provenance.initialised_from, saved.provenance.initial_encoders)
    return Start(provenance, saved.step, saved.best, saved.meter)


def describe_changed_conditions(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Returns a text for each version, and each property of the hardware, that differs from the one that was recorded.

    Args:
        old: the environment of a checkpoint; what it did not record is left out.
        new: the environment now.
    """
    pairs = {key: [str(facts[key]).partition(": ")[0] for facts in (old, new)] for key in _CONDITIONS if key in old}
    return [f"{key} from {before} to {after}" for key, (before, after) in pairs.items() if before != after]
