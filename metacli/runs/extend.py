"""Going on with a run by another number of steps: what may change in its recipe, and how that is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metacli.config.keys import flatten
from metacli.config.overrides import apply_overrides
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import UsageError
from metacli.runs.directory import RunDir

# of nothing that has been computed so far; not `eval_tasks`: the best score until then is one over as many tasks
FREE = tuple(f"train.{key}" for key in ("steps", "eval_every", "checkpoint_every", "log_every", "patience"))


def with_new_schedule(recipe: Recipe, overrides: list[str], run: str) -> Recipe:
    """The recipe of a run with KEY=VALUE changed for the steps to come.

    Args:
        run: the run directory, for messages.

    Raises:
        UsageError: a key that cannot change any more, all of them in one message; or a wrong value.
    """
    after = recipe_from_dict(apply_overrides(recipe.as_dict(), overrides), run)
    if fixed := [line for key, line in changes(recipe, after).items() if key not in FREE]:
        raise UsageError(
            [f"{run} goes on by its own recipe, in which these keys stay", *fixed],
            f"--resume can change {', '.join(FREE)}; start another run to change more",
        )
    return after


def changes(before: Recipe, after: Recipe, here: str = "in the run", there: str = "now") -> dict[str, str]:
    """The keys in which two recipes differ, each with a line that says how."""
    old, new = flatten(before.as_dict()), flatten(after.as_dict())
    names = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    return {key: f"{key}: {old.get(key)} {here}, {new.get(key)} {there}" for key in names}


def extend(rundir: RunDir, recipe: Recipe, step: int, say: Callable[[str, str], None]) -> None:
    """Keep a changed recipe as that of the run, and tell of it in env.json and by `say`; nothing where none changed.

    The learning rate of the steps to come is that of a run of the new length: a cosine that had come down goes up
    again. With a constant rate the run ends as one that had the new length from its beginning.

    Args:
        step: updates of theta so far.
        say: takes the name of a fact, and it.

    Raises:
        MetacliError: a file cannot be written.
    """
    before = RunDir.reopen(rundir.path)[1]
    changed = changes(before, recipe)
    if not changed:
        return
    old, new = flatten(before.as_dict()), flatten(recipe.as_dict())
    rates = [r.train.learning_rate(step) for r in (before, recipe)]
    told: dict[str, Any] = {"step": step, "keys": {key: [old[key], new[key]] for key in changed}, "lr": rates}
    rundir.change(recipe, told)
    say("changed", ", ".join(f"{key} from {old[key]} to {new[key]}" for key in changed))
    if "train.steps" in changed:
        say("rate", f"of the next step {rates[0]:.3g} by the old length, {rates[1]:.3g} by the new")
