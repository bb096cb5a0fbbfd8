"""The verbs of the command line as functions, and what they work on: recipes, tasks, models.

Each is a name on `metacli` itself. Expected failures are a MetacliError, with a message and a hint.
"""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from torch import nn

from metacli.checkpoints import bundled, checkpoint
from metacli.compute.device import choose_device, prepare, preserved
from metacli.compute.threads import parse
from metacli.config import catalogue
from metacli.config import recipe as recipes
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.evaluation.evaluate import Scores, check_answerable, check_spec, tasks_for
from metacli.evaluation.evaluate import evaluate as run_evaluation
from metacli.inspect.inspection import one_task
from metacli.inspect.trace import MemoryTrace
from metacli.models.base import MetaLearner
from metacli.registry import MODELS, TASKS, build
from metacli.runs.resume import next_recipe
from metacli.tasks.base import SPLITS, Split, Tasks
from metacli.training import loop
from metacli.training.outcome import Outcome
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.stopping import Deadline
from metacli.training.warm_start import WarmStart

AnyRecipe = Recipe | str | PathLike[str] | dict[str, Any]
AnyModel = MetaLearner | str | PathLike[str]


def load_recipe(source: AnyRecipe, *overrides: str) -> Recipe:
    """A recipe: a YAML file, one that ships, or one's own as a dictionary; then its keys as overrides change them.

    Args:
        source: a path, a name such as `strokes_ntm`, a dictionary with the sections `task`, `model` and `train`, or
            a Recipe.
        overrides: KEY=VALUE as on the command line, such as `train.steps=200`.

    Raises:
        MetacliError: there is none, or keys or values are wrong, all of them in one message.
    """
    if isinstance(source, Recipe):
        source = source.as_dict()
    return recipes.load_recipe(source if isinstance(source, dict) else str(source), list(overrides))


def list_recipes(*words: str) -> list[catalogue.Entry]:
    """The recipes that ship and have every one of the words in their name, task, model or purpose.

    Raises:
        MetacliError: there is none.
    """
    return catalogue.list_recipes(list(words))


def build_tasks(recipe: AnyRecipe, *overrides: str) -> Tasks:
    """The tasks p(T) of a recipe: `episodes` goes through them, `batch` makes any of them by number.

    Args:
        recipe: see `load_recipe`; so are the overrides and the errors.
    """
    plan = load_recipe(recipe, *overrides)
    return build(TASKS, plan.task, plan.seed)


def build_model(recipe: AnyRecipe, *overrides: str) -> MetaLearner:
    """The untrained model f_theta of a recipe for its tasks, on the CPU; the same weights for the same seed.

    Args:
        recipe: see `load_recipe`; so are the overrides and the errors.
    """
    plan = load_recipe(recipe, *overrides)
    with preserved():
        prepare(plan.seed)
        return build(MODELS, plan.model, build_tasks(plan).spec)


def load_model(name: str | PathLike[str]) -> MetaLearner:
    """The trained model of a checkpoint file, a run directory or a shipped name, on the CPU, in eval mode.

    Raises:
        MetacliError: there is none, or it cannot be read.
    """
    model: Any = checkpoint.load(bundled.find(Path(name))).build_model()
    return model


def train(
    recipe: AnyRecipe | None = None,
    *overrides: str,
    run_dir: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    init: str | PathLike[str] | None = None,
    time_limit: float | str | None = None,
    device: str = "auto",
    threads: int | Literal["auto"] = "auto",
    quiet: bool = False,
) -> Outcome:
    """Train by a recipe, as `metacli train` does; the run directory is `run` of what is returned.

    Seeds, threads and the treatment of denormals are put back at the end.

    Args:
        recipe: see `load_recipe`; None to go on with `resume` by its own.
        overrides: see `load_recipe`; of `resume` by its own recipe those that may change on the way, `train.steps`
            for one.
        run_dir: where to write, a folder that is not there yet; None for runs/<recipe>/<time>-seed<n>.
        resume: a run directory to go on with.
        init: a checkpoint file, a run directory or a shipped name, whose weights a new run begins from.
        time_limit: seconds, or words such as `2h` or `1h30m`, after which the run stops and is saved; what is returned
            then has `finished` False.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: how many to compute with; auto for as many as help.
        quiet: whether nothing is told on stderr.

    Raises:
        MetacliError: a wrong recipe, a run directory that is taken, a loss that is not finite, a full disk.
        KeyboardInterrupt: on Ctrl-C, after the step in hand was finished and saved; SystemExit on SIGTERM, likewise.
    """
    if resume is not None and run_dir is not None:
        raise TypeError("resume goes on in its own run directory: leave out run_dir")
    if resume is not None and init is not None:
        raise TypeError("resume goes on from the run's own weights: leave out init")
    deadline = None if time_limit is None else Deadline(str(time_limit))
    if resume is not None:
        given = None if recipe is None else load_recipe(recipe, *overrides)
        plan = next_recipe(Path(resume), given, list(overrides))
    elif recipe is not None:
        plan = load_recipe(recipe, *overrides)
    else:
        raise TypeError("give a recipe, or a run directory to go on with: resume=...")
    chosen, reason = choose_device(device)
    progress = Progress(quiet)
    progress.tell("device", reason)
    folder, before = (None if path is None else Path(path) for path in (run_dir, resume))
    with preserved():
        start = None if init is None else WarmStart.from_checkpoint(Path(init), plan)
        outcome = loop.train(plan, RunPlan(folder, before, start), chosen, progress, parse(str(threads)), deadline)
    if outcome.code:
        progress.say(f"stopped at step {outcome.step}, saved; go on with: metacli.train(resume={str(outcome.run)!r})")
        raise KeyboardInterrupt if outcome.code == 130 else SystemExit(outcome.code)
    return outcome


def evaluate(
    model: AnyModel,
    *overrides: str,
    tasks: Tasks | None = None,
    n_tasks: int = 1000,
    split: Split = "test",
    device: str = "auto",
) -> Scores:
    """Score a model on D_test of the first tasks of a split, task by task.

    Args:
        model: a checkpoint file, a run directory, a shipped name, or a model.
        overrides: `task.KEY=VALUE` to change of a checkpoint's own tasks.
        tasks: None for the checkpoint's own.
        n_tasks: how many, 1 or more.
        split: train, val or test.
        device: of a checkpoint, see `train`; a model stays where it is.

    Returns:
        `mean` and `ci95` of the headline score; `values`, every score task by task by its name, (n_tasks,) or curves
        (n_tasks, k); `classes`, the names of each task's classes.

    Raises:
        MetacliError: the model cannot answer these tasks, or was trained on classes of a held-out split.
        TypeError: a model without tasks, or both tasks and overrides.
        ValueError: a wrong number of tasks, or no such split.
    """
    if n_tasks < 1:
        raise ValueError(f"n_tasks is {n_tasks}: a whole number from 1 on")
    with ExitStack() as stack:
        ready, asked = _together(stack, model, overrides, tasks, split, device)
        return run_evaluation(ready, asked, split, n_tasks, next(ready.parameters()).device)


def trace(
    model: AnyModel,
    *overrides: str,
    tasks: Tasks | None = None,
    index: int = 0,
    split: Split = "test",
    device: str = "auto",
) -> MemoryTrace:
    """What a model did with one task, step by step: weightings, memory and answers as named arrays.

    Args:
        index: the number of the task in its split.
        model: see `evaluate`; so are all others and the errors.
    """
    with ExitStack() as stack:
        ready, asked = _together(stack, model, overrides, tasks, split, device)
        return one_task(ready, asked, split, index, [])


def _together(
    stack: ExitStack, model: AnyModel, overrides: tuple[str, ...], tasks: Tasks | None, split: Split, device: str
) -> tuple[Any, Tasks]:
    """A model in eval mode and tasks that it can answer; `stack` puts back what was changed for it."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: one of {', '.join(SPLITS)}")
    if tasks is not None and overrides:
        raise TypeError("overrides change the checkpoint's own tasks: give either them or tasks")
    stack.enter_context(preserved())
    if not isinstance(model, nn.Module):
        saved = checkpoint.load(bundled.find(Path(model)))
        if tasks is None:
            tasks = tasks_for(saved, list(overrides), split)[1]
        else:
            check_answerable(saved, tasks, split)
        prepare(saved.recipe.seed)
        return saved.build_model().to(choose_device(device)[0]), tasks
    if tasks is None:
        raise TypeError("a model brings no tasks: give tasks=metacli.build_tasks(...)")
    check_spec(model.spec, tasks)
    if tasks.spec.y_size > model.spec.y_size or tasks.spec.out_size > model.spec.out_size:
        raise UsageError(f"the model gives {model.spec.out_size} logits, these tasks take {tasks.spec.out_size}")
    prepare(tasks.seed)
    stack.callback(model.train, model.training)
    return model.eval(), tasks
