"""The verbs over what was trained: one model or several on the same tasks, the models that ship, learning curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from metacli import screen
from metacli.errors import UsageError
from metacli.machine import launch
from metacli.options import (
    AsJson,
    CheckpointPaths,
    Device,
    Overrides,
    Plugins,
    SplitName,
    ThreadCount,
    check_split,
    print_result,
)


def evaluate(
    checkpoint: CheckpointPaths,
    overrides: Overrides = None,
    tasks: Annotated[int, typer.Option(min=1, help="How many tasks.")] = 1000,
    split: SplitName = "test",
    png: Annotated[Path | None, typer.Option(help="Of several checkpoints: also draw the comparison here.")] = None,
    show: Annotated[int, typer.Option(min=0, help="How many tasks to list.")] = 10,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint on held-out tasks: its scores on D_test, task by task; or compare several."""
    part = check_split(split)
    if len(checkpoint) > 1:
        if not launch.place().first:
            raise typer.Exit  # one process compares
        return compare(checkpoint, overrides or [], tasks, split, png, device, threads, as_json)
    if png:
        raise UsageError("--png draws several checkpoints side by side", "give --checkpoint more than once")
    from tqdm import tqdm

    from metacli.machine import ranks
    from metacli.machine.runtime import environment, prepare
    from metacli.machine.threads import choose, parse
    from metacli.show.results import print_evaluation
    from metacli.training import checkpoint as checkpoints
    from metacli.training import forecast, weights
    from metacli.training.evaluation import CHUNK, tasks_for
    from metacli.training.evaluation import evaluate as run_evaluation
    from metacli.training.progress import tell
    from metacli.training.results import summary
    from metacli.training.rundir import keep_evaluation
    from metacli.training.shares import check_weights
    from metacli.training.trial import forward_pass

    wanted = parse(threads)
    everyone, chosen, reason = ranks.join(device)
    with everyone.local_first():
        saved = checkpoints.load(weights.find(checkpoint[0]))
        recipe, distribution = tasks_for(saved, overrides or [], part)
        prepare(recipe.seed)
        model = saved.build_model().to(chosen)
        tell(device=reason, tasks=distribution.describe())
    check_weights(everyone, model)
    used = choose(wanted, forward_pass(model, distribution, part, chosen, tasks))
    tell(threads=used)
    forecast.check_evaluation(model, distribution, part, min(tasks, CHUNK), chosen)
    with tqdm(total=tasks, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
        scores = run_evaluation(model, distribution, part, tasks, chosen, bar.update, everyone)
    everyone.leave()
    if not everyone.first:
        return
    place = environment(chosen, used, str(next(model.parameters()).dtype).removeprefix("torch."), None)
    result = summary(scores, recipe, distribution, str(saved.path), saved.step, split, place)
    if not overrides and (reason := keep_evaluation(saved.path, result)):  # first: stdout may be what fails
        screen.say(f"note: not kept: {reason}")
    print_result(as_json, result, lambda console: print_evaluation(console, result, distribution, show))


def models(as_json: AsJson = False) -> None:
    """List the trained models that ship, with what each is held to."""
    from metacli.show.models import print_models
    from metacli.training.shipped import shipped

    found = shipped()
    print_result(as_json, [model.plain() for model in found], lambda console: print_models(console, found))


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories.")],
    png: Annotated[Path | None, typer.Option(help="Also draw them into this picture.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the learning curves of one or several runs."""
    from metacli.show.curves import print_curves, save_curves
    from metacli.training.curves import curve

    found = [curve(run) for run in runs]
    if png:
        save_curves(png, found)
    print_result(as_json, [c.plain() for c in found], lambda console: print_curves(console, found))


def compare(
    names: list[str],
    overrides: list[str],
    count: int,
    split: str,
    png: Path | None,
    device: str,
    threads: str,
    as_json: bool,
) -> None:
    """`eval` of several checkpoints: the first one's tasks, answered by all."""
    part = check_split(split)
    from tqdm import tqdm

    from metacli.machine.runtime import choose_device, prepare
    from metacli.machine.threads import choose, parse
    from metacli.show.comparison import print_comparison, save_comparison
    from metacli.training import checkpoint, comparison, weights
    from metacli.training.progress import tell
    from metacli.training.trial import forward_pass

    wanted = parse(threads)
    saved = [checkpoint.load(weights.find(name)) for name in names]
    recipe, tasks = comparison.common_tasks(saved, overrides, part)
    prepare(recipe.seed)
    chosen, reason = choose_device(device)
    first = saved[0].build_model().to(chosen)
    tell(device=reason, tasks=tasks.describe())
    tell(threads=choose(wanted, forward_pass(first, tasks, part, chosen, count)))
    with tqdm(total=count * len(names), unit="task", file=sys.stderr, disable=None, leave=False) as bar:
        found = comparison.compare(names, saved, tasks, part, count, chosen, bar.update)
    if png:
        save_comparison(png, found, tasks, split, count)
    result = comparison.summary(found, recipe, tasks, split, count)
    print_result(as_json, result, lambda console: print_comparison(console, found, tasks, split, count))
