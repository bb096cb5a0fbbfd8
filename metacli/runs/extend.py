"""Extend a run: which keys of its recipe may change when it is resumed, and how the change is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metacli.config.keys import flatten
from metacli.config.overrides import apply_overrides
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import UsageError
from metacli.runs.directory import RunDirectory

# No result so far depends on these keys. `eval_tasks` is not one of them: it is part of the best score so far.
CHANGEABLE_KEYS = tuple(f"train.{key}" for key in ("steps", "eval_every", "checkpoint_every", "log_every", "patience"))


def with_new_schedule(recipe: Recipe, overrides: list[str], run: str) -> Recipe:
    """Returns the recipe of a run with KEY=VALUE changed for the next steps.

    Args:
        recipe: of the run.
        overrides: KEY=VALUE for keys that may change.
        run: the run directory, for messages.

    Raises:
        UsageError: a key cannot change any more, or a value is wrong. Names all such keys.
    """
    changed = recipe_from_dict(apply_overrides(recipe.as_dict(), overrides), run)
    if fixed := [line for key, line in recipe_changes(recipe, changed).items() if key not in CHANGEABLE_KEYS]:
        raise UsageError(
            [f"{run}: these keys of its recipe cannot change", *fixed],
            f"--resume can change {', '.join(CHANGEABLE_KEYS)}; start a new run to change others",
        )
    return changed


def recipe_changes(
    old_recipe: Recipe, new_recipe: Recipe, old_label: str = "in the run", new_label: str = "now"
) -> dict[str, str]:
    """Returns the keys in which two recipes differ, each with a line that describes the difference.

    A key that is null in the new recipe does not differ: the run chose its value, see `Tasks.resolve_config`.

    Args:
        old_recipe: the recipe of the run, or of a checkpoint.
        new_recipe: the recipe to compare with it.
        old_label: follows the old value in each line, such as where it is.
        new_label: follows the new value in each line.
    """
    old, new = flatten(old_recipe.as_dict()), flatten(new_recipe.as_dict())
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key) and new.get(key, "missing") is not None]
    return {key: f"{key}: {old.get(key)} {old_label}, {new.get(key)} {new_label}" for key in keys}


def extend_run(directory: RunDirectory, recipe: Recipe, step: int, report: Callable[[str, str], None]) -> None:
    """Replace the recipe of a run, if it has changed, and record the change in env.json.

    The next steps use the learning rate of a run of the new length: a cosine that had decayed rises again. With a
    constant rate, the result is that of a run that had the new length from its beginning.

    Args:
        directory: the run directory, locked.
        recipe: the new recipe.
        step: updates of theta so far.
        report: called with a label and a text for each change.

    Raises:
        MetacliError: a file cannot be written.
    """
    old_recipe = RunDirectory.open(directory.path)[1]
    changed = recipe_changes(old_recipe, recipe)
    if not changed:
        return
    old, new = flatten(old_recipe.as_dict()), flatten(recipe.as_dict())
    rates = [r.train.learning_rate(step) for r in (old_recipe, recipe)]
    change: dict[str, Any] = {"step": step, "keys": {key: [old[key], new[key]] for key in changed}, "lr": rates}
    directory.change_recipe(recipe, change)
    report("changed", ", ".join(f"{key} from {old[key]} to {new[key]}" for key in changed))
    if "train.steps" in changed:
        report("rate", f"{rates[0]:.3g} at the next step with the old length, {rates[1]:.3g} with the new")
