"""The Python interface: functions for the verbs of the command line, and for recipes, tasks and models.

Each function is also available as a name of the package `metacli`. Expected failures raise a MetacliError with a
message and a hint. A call neither depends on the settings and random states of torch, NumPy and Python, nor changes
them; see `metacli.compute.settings`.
"""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from metacli.checkpoints import bundled, checkpoint
from metacli.compute.device import choose_device, preserve_torch_state, set_up_torch
from metacli.compute.settings import own_settings
from metacli.compute.threads import parse_thread_count
from metacli.config import catalogue
from metacli.config import recipe as recipes
from metacli.config.overrides import held_out_seed
from metacli.config.recipe import Recipe
from metacli.errors import UsageError
from metacli.evaluation.evaluate import Scores, build_eval_tasks, check_answerable, check_spec
from metacli.evaluation.evaluate import evaluate as run_evaluation
from metacli.evaluation.orders import MAX_ORDERS, average_over_orders
from metacli.inspect.inspection import trace_task
from metacli.inspect.trace import MemoryTrace
from metacli.models.base import MetaLearner
from metacli.registry import MODELS, TASKS, build
from metacli.runs.resume import recipe_to_resume
from metacli.system.operating_system import expand_home
from metacli.tasks.base import SPLITS, Split, Tasks
from metacli.training import loop
from metacli.training.outcome import Outcome
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.stopping import Deadline
from metacli.training.warm_start import WarmStart

RecipeSource = Recipe | str | PathLike[str] | dict[str, Any]
ModelSource = MetaLearner | str | PathLike[str]


def load_recipe(source: RecipeSource, *overrides: str) -> Recipe:
    """Loads a recipe and applies overrides to its keys.

    Args:
        source: the path of a YAML file, the name of a bundled recipe such as `strokes_ntm`, a dictionary with the
            sections `task`, `model` and `train`, or a Recipe.
        overrides: KEY=VALUE as on the command line, such as `train.steps=200`.

    Raises:
        MetacliError: there is no such recipe, or keys or values are wrong. One message has all errors.
    """
    if isinstance(source, Recipe):
        source = source.as_dict()
    return recipes.load_recipe(source if isinstance(source, dict) else str(source), list(overrides))


def list_recipes(*words: str) -> list[catalogue.Entry]:
    """Returns the bundled recipes that have every word in their name, task, model or purpose.

    Raises:
        MetacliError: no recipe matches.
    """
    return catalogue.list_recipes(list(words))


@own_settings()
def build_tasks(recipe: RecipeSource, *overrides: str) -> Tasks:
    """Builds the task distribution p(T) of a recipe. `episodes` iterates over tasks; `batch` samples any range.

    The tasks of val and test do not depend on the recipe's seed. The override `seed=N` draws others.

    Args:
        recipe: see `load_recipe`, also for the overrides and the errors.
    """
    resolved = load_recipe(recipe, *overrides)
    return build(TASKS, resolved.task, resolved.seed, held_out_seed(list(overrides)))


@own_settings()
def build_model(recipe: RecipeSource, *overrides: str) -> MetaLearner:
    """Builds the untrained model f_theta of a recipe, on the CPU. The same seed gives the same weights.

    Args:
        recipe: see `load_recipe`, also for the overrides and the errors.
    """
    resolved = load_recipe(recipe, *overrides)
    with preserve_torch_state():
        set_up_torch(resolved.seed)
        return build(MODELS, resolved.model, build_tasks(resolved).spec)


@own_settings()
def load_model(name: str | PathLike[str]) -> MetaLearner:
    """Loads a trained model, on the CPU and in eval mode.

    Args:
        name: a checkpoint file, a run directory or the name of a bundled model.

    Raises:
        MetacliError: there is no such checkpoint, or it cannot be read.
    """
    model: Any = checkpoint.load(bundled.find_checkpoint(Path(name))).build_model()
    return model


@own_settings()
def train(
    recipe: RecipeSource | None = None,
    *overrides: str,
    run_dir: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    init: str | PathLike[str] | None = None,
    time_limit: float | str | None = None,
    device: str = "auto",
    threads: int | Literal["auto"] = "auto",
    quiet: bool = False,
) -> Outcome:
    """Trains a model with a recipe, as `metacli train` does.

    Args:
        recipe: see `load_recipe`. None to resume a run with its own recipe.
        overrides: see `load_recipe`. A resumed run accepts only keys that may change, such as `train.steps`.
        run_dir: the run directory to create. None for runs/<recipe>/<time>-seed<n>.
        resume: a run directory to resume.
        init: a checkpoint file, a run directory or the name of a bundled model. A new run starts from its weights.
        time_limit: seconds, or a text such as `2h` or `1h30m`. The run then stops and is saved, and the outcome has
            `finished` False.
        device: auto, cpu, cuda, cuda:N or mps.
        threads: number of CPU threads, or auto to measure and pick the fastest.
        quiet: whether to print errors only.

    Returns:
        The outcome. Its `run` is the run directory.

    Raises:
        MetacliError: the recipe is wrong, the run directory exists, the loss is not finite, or the disk is full.
        KeyboardInterrupt: on Ctrl-C, after the current step is finished and saved.
        SystemExit: on SIGTERM, after the current step is finished and saved.
    """
    if resume is not None and run_dir is not None:
        raise TypeError("resume continues in the run's own directory: leave out run_dir")
    if resume is not None and init is not None:
        raise TypeError("resume continues from the run's own weights: leave out init")
    deadline = None if time_limit is None else Deadline(str(time_limit))
    if resume is not None:
        new_recipe = None if recipe is None else load_recipe(recipe, *overrides)
        resolved = recipe_to_resume(expand_home(resume), new_recipe, list(overrides))
    elif recipe is not None:
        resolved = load_recipe(recipe, *overrides)
    else:
        raise TypeError("give a recipe, or a run directory to resume: resume=...")
    torch_device, reason = choose_device(device)
    progress = Progress(quiet)
    progress.print_fact("device", reason)
    run_path, resume_path = (None if path is None else expand_home(path) for path in (run_dir, resume))
    with preserve_torch_state():
        warm_start = None if init is None else WarmStart.from_checkpoint(Path(init), resolved)
        outcome = loop.train(
            resolved,
            RunPlan(run_path, resume_path, warm_start),
            torch_device,
            progress,
            parse_thread_count(str(threads)),
            deadline,
        )
    if outcome.code:
        progress.print_lines(
            f"stopped at step {outcome.step} and saved. Resume with: metacli.train(resume={str(outcome.run)!r})"
        )
        raise KeyboardInterrupt if outcome.code == 130 else SystemExit(outcome.code)
    return outcome


@own_settings()
def evaluate(
    model: ModelSource,
    *overrides: str,
    tasks: Tasks | None = None,
    n_tasks: int = 1000,
    split: Split = "test",
    device: str = "auto",
    orders: int = 1,
) -> Scores:
    """Scores a model on D_test of the first tasks of a split.

    Args:
        model: a checkpoint file, a run directory, the name of a bundled model, or a model.
        overrides: `task.KEY=VALUE` to change the checkpoint's own tasks.
        tasks: the task distribution. None for the checkpoint's own.
        n_tasks: the number of tasks, at least 1.
        split: train, val or test.
        device: the device of a checkpoint's model, see `train`. A model that is passed stays on its device.
        orders: the number of support set orders that each answer is averaged over, from 1 to 1,000. In all orders but
            the first the images are moved a little and the labels are assigned anew. N-way K-shot tasks over images
            only.

    Returns:
        The scores. `mean` and `ci95` are those of the headline metric. `values` has every metric by its name, for each
        task: (n_tasks,), or (n_tasks, k) for curves. `classes` has the class names of each task.

    Raises:
        MetacliError: the model cannot answer these tasks, or was trained on classes of a held-out split.
        TypeError: a model is given without tasks, or tasks and overrides are both given.
        ValueError: the number of tasks, the split or the number of orders is wrong.
    """
    if n_tasks < 1:
        raise ValueError(f"n_tasks is {n_tasks}: should be at least 1")
    if not 1 <= orders <= MAX_ORDERS:
        raise ValueError(f"orders is {orders}: should be from 1 to {MAX_ORDERS}")
    with ExitStack() as stack:
        network, distribution = _open_model_and_tasks(stack, model, overrides, tasks, split, device)
        averaged = average_over_orders(network, distribution, split, orders)
        return run_evaluation(averaged, distribution, split, n_tasks, next(network.parameters()).device)


@own_settings()
def trace(
    model: ModelSource,
    *overrides: str,
    tasks: Tasks | None = None,
    index: int = 0,
    split: Split = "test",
    device: str = "auto",
) -> MemoryTrace:
    """Records what a model does with one task, step by step: weightings, memory and answers as named arrays.

    Args:
        index: the number of the task in its split, from 0.
        model: see `evaluate`, also for the other arguments and the errors.
    """
    with ExitStack() as stack:
        network, distribution = _open_model_and_tasks(stack, model, overrides, tasks, split, device)
        return trace_task(network, distribution, split, index, [])


def _open_model_and_tasks(
    stack: ExitStack, model: ModelSource, overrides: tuple[str, ...], tasks: Tasks | None, split: Split, device: str
) -> tuple[Any, Tasks]:
    """Returns a model in eval mode and tasks that it can answer. Closing `stack` restores the global state."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: should be one of {', '.join(SPLITS)}")
    if tasks is not None and overrides:
        raise TypeError("give either tasks or overrides, which change the checkpoint's own tasks")
    stack.enter_context(preserve_torch_state())
    if not isinstance(model, nn.Module):
        saved = checkpoint.load(bundled.find_checkpoint(Path(model)))
        if tasks is None:
            tasks = build_eval_tasks(saved, list(overrides), split)[1]
        else:
            check_answerable(saved, tasks, split)
        set_up_torch(saved.recipe.seed)
        return saved.build_model().to(choose_device(device)[0]), tasks
    if tasks is None:
        raise TypeError("a model has no task distribution of its own: give tasks=metacli.build_tasks(...)")
    dtypes = {weight.dtype for weight in model.parameters()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise UsageError(f"the model has weights in {names}, not in float32 or float64", "convert it: model.float()")
    check_spec(model.spec, tasks)
    if tasks.spec.y_size > model.spec.y_size or tasks.spec.out_size > model.spec.out_size:
        raise UsageError(f"the model computes {model.spec.out_size} logits, but these tasks need {tasks.spec.out_size}")
    set_up_torch(tasks.seed)
    stack.callback(model.train, model.training)
    return model.eval(), tasks
