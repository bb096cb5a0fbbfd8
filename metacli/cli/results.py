"""The verbs over what was trained: one model or several on the same tasks, the models that ship, learning curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import (
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
from metacli.compute import torchrun
from metacli.errors import UsageError
from metacli.system import terminal


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
        if not torchrun.place().first:
            raise typer.Exit  # one process compares
        return compare(checkpoint, overrides or [], tasks, split, png, device, threads, as_json)
    if png:
        raise UsageError("--png draws several checkpoints side by side", "give --checkpoint more than once")
    from tqdm import tqdm

    from metacli.checkpoints import bundled
    from metacli.checkpoints import checkpoint as checkpoints
    from metacli.compute import processes
    from metacli.compute.device import environment, prepare
    from metacli.compute.threads import choose, parse
    from metacli.evaluation.evaluate import CHUNK, tasks_for
    from metacli.evaluation.evaluate import evaluate as run_evaluation
    from metacli.evaluation.report import summary
    from metacli.runs.directory import keep_evaluation
    from metacli.show.results import print_evaluation
    from metacli.training import memory_forecast
    from metacli.training.data_parallel import check_equal_weights
    from metacli.training.progress import tell
    from metacli.training.thread_trials import forward_pass

    wanted = parse(threads)
    everyone, chosen, reason = processes.join(device)
    with everyone.local_first():
        saved = checkpoints.load(bundled.find(checkpoint[0]))
        recipe, distribution = tasks_for(saved, overrides or [], part)
        prepare(recipe.seed)
        model = saved.build_model().to(chosen)
        tell(device=reason, tasks=distribution.describe())
    check_equal_weights(everyone, model)
    used = choose(wanted, forward_pass(model, distribution, part, chosen, tasks))
    tell(threads=used)
    memory_forecast.check_evaluation(model, distribution, part, min(tasks, CHUNK), chosen)
    with tqdm(total=tasks, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
        scores = run_evaluation(model, distribution, part, tasks, chosen, bar.update, everyone)
    everyone.leave()
    if not everyone.first:
        return
    place = environment(chosen, used, str(next(model.parameters()).dtype).removeprefix("torch."), None)
    result = summary(scores, recipe, distribution, str(saved.path), saved.step, split, place)
    if not overrides and (reason := keep_evaluation(saved.path, result)):  # first: stdout may be what fails
        terminal.say(f"note: not kept: {reason}")
    print_result(as_json, result, lambda console: print_evaluation(console, result, distribution, show))


def models(as_json: AsJson = False) -> None:
    """List the trained models that ship, with what each is held to."""
    from metacli.checkpoints.reference_scores import shipped
    from metacli.show.models import print_models

    found = shipped()
    print_result(as_json, [model.plain() for model in found], lambda console: print_models(console, found))


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run directories.")],
    png: Annotated[Path | None, typer.Option(help="Also draw them into this picture.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the learning curves of one or several runs."""
    from metacli.runs.learning_curves import curve
    from metacli.show.curves import print_curves, save_curves

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

    from metacli.checkpoints import bundled, checkpoint
    from metacli.compute.device import choose_device, prepare
    from metacli.compute.threads import choose, parse
    from metacli.evaluation import compare
    from metacli.show.comparison import print_comparison, save_comparison
    from metacli.training.progress import tell
    from metacli.training.thread_trials import forward_pass

    wanted = parse(threads)
    saved = [checkpoint.load(bundled.find(name)) for name in names]
    recipe, tasks = compare.common_tasks(saved, overrides, part)
    prepare(recipe.seed)
    chosen, reason = choose_device(device)
    first = saved[0].build_model().to(chosen)
    tell(device=reason, tasks=tasks.describe())
    tell(threads=choose(wanted, forward_pass(first, tasks, part, chosen, count)))
    with tqdm(total=count * len(names), unit="task", file=sys.stderr, disable=None, leave=False) as bar:
        found = compare.compare(names, saved, tasks, part, count, chosen, bar.update)
    if png:
        save_comparison(png, found, tasks, split, count)
    result = compare.summary(found, recipe, tasks, split, count)
    print_result(as_json, result, lambda console: print_comparison(console, found, tasks, split, count))
