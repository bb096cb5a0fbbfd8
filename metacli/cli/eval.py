"""`metacli eval`: scores of one checkpoint on held-out tasks, or several checkpoints on the same tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metacli.cli.checkpoint_words import split_words
from metacli.cli.options import (
    CHECKPOINT,
    AsJson,
    CheckpointOptions,
    Device,
    Force,
    Plugins,
    SplitName,
    ThreadCount,
    examples,
    output_file,
    print_result,
    task_bar,
)
from metacli.compute import torchrun
from metacli.system import terminal

if TYPE_CHECKING:
    from metacli.evaluation.session import Session

EXAMPLES = examples(
    "metacli eval runs/first",
    "metacli eval strokes_transformer task.shots=5 --tasks 200 --json",
    "metacli eval runs/mann runs/snail --png compared.png",
    "metacli eval omniglot_snail --baseline",
    "metacli eval omniglot_snail --orders 9",
)


def evaluate(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT|KEY=VALUE",
            help=f"{CHECKPOINT} Several are compared. Then recipe keys to change, as in task.shots=5.",
        ),
    ] = None,
    checkpoint: CheckpointOptions = None,
    tasks: Annotated[int, typer.Option(min=1, help="Number of tasks.")] = 1000,
    split: SplitName = "test",
    png: Annotated[
        Path | None, output_file(".png", "Save a confusion matrix, curves, or a plot of the comparison to this file.")
    ] = None,
    force: Force = False,
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline", help="Also evaluate cosine similarity to class means, on this encoder and on the bundled one."
        ),
    ] = False,
    orders: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="Number of support set orders to average answers over, each with moved images."
        ),
    ] = 1,
    show: Annotated[int, typer.Option(min=0, help="Number of tasks to list one by one.")] = 10,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint on the query sets of held-out tasks, or compare several checkpoints on the same tasks."""
    checkpoints, overrides = split_words(words, checkpoint)
    several, rank = len(checkpoints) > 1 or baseline, torchrun.current_rank()
    if several and not rank.is_first:  # processes share the tasks of one checkpoint only
        torchrun.print_idle(rank)
        raise typer.Exit
    context.with_resource(torchrun.silence_other_ranks(rank))
    from metacli.evaluation.session import open_session
    from metacli.system import outputs

    session = open_session(checkpoints, overrides, split, tasks, device, threads, distributed=not several)
    if png:
        outputs.check_no_input(png, "--png", class_root=session.tasks.class_root)
    if several:
        return _compare(session, checkpoints, tasks, baseline, orders, png, as_json)
    keep = not overrides and orders == 1
    _evaluate(session, tasks, keep=keep, orders=orders, show=show, png=png, as_json=as_json)


def _evaluate(
    session: Session, n_tasks: int, keep: bool, orders: int, show: int, png: Path | None, as_json: bool
) -> None:
    """Evaluate the session's one checkpoint and print the result; `keep` it in the run directory."""
    from metacli.compute.device import environment
    from metacli.evaluation.answers import check_classes_recur, confusion_matrix
    from metacli.evaluation.evaluate import evaluate as run_evaluation
    from metacli.evaluation.orders import average_over_orders
    from metacli.evaluation.report import print_missing_intervals, summarize_evaluation
    from metacli.runs.evaluation_file import save_evaluation
    from metacli.show.confusion import save_confusion
    from metacli.show.example_curves import save_example_curves
    from metacli.show.results import print_evaluation
    from metacli.tasks.optimum import OptimumTasks

    tasks, split, device, processes = session.tasks, session.split, session.device, session.processes
    if png and not isinstance(tasks, OptimumTasks):
        check_classes_recur(tasks, split)
    model = average_over_orders(session.model, tasks, split, orders)
    with task_bar(n_tasks) as bar:
        scores = run_evaluation(model, tasks, split, n_tasks, device, bar.update, processes)
    precision = str(next(session.model.parameters()).dtype).removeprefix("torch.")
    saved, machine = session.checkpoint, environment(device, session.threads, precision, None)
    processes.leave()
    if not processes.is_first:
        return
    result = summarize_evaluation(scores, session.recipe, tasks, str(saved.path), saved.step, split, machine)
    if keep and (problem := save_evaluation(saved.path, result)):  # before printing, which may fail
        terminal.print_to_stderr(f"note: eval.json is not written: {problem}")
    print_missing_intervals({m.label: result[m.key] for m in tasks.metrics if not m.axis})
    print_result(as_json, result, lambda console: print_evaluation(console, result, tasks, show))
    if png and isinstance(tasks, OptimumTasks):
        save_example_curves(png, result, tasks)
    elif png and scores.answers is not None:
        save_confusion(png, confusion_matrix(scores.answers, tasks), str(scores))


def _compare(
    session: Session, names: list[str], n_tasks: int, baseline: bool, orders: int, png: Path | None, as_json: bool
) -> None:
    """Evaluate all checkpoints, and the baselines if asked for, on the first one's tasks and print the comparison."""
    from metacli.evaluation.baseline import add_baselines
    from metacli.evaluation.compare import Contender, compare, summarize_comparison
    from metacli.evaluation.orders import average_over_orders
    from metacli.evaluation.report import print_missing_intervals
    from metacli.show.comparison import print_comparison, save_comparison

    tasks, split = session.tasks, session.split
    contenders = [Contender.from_checkpoint(*pair) for pair in zip(names, session.checkpoints, strict=True)]
    if baseline:
        contenders = add_baselines(contenders, session.checkpoints, tasks, split)
    contenders = [replace(c, model=average_over_orders(c.model, tasks, split, orders)) for c in contenders]
    with task_bar(n_tasks * len(contenders)) as bar:
        scores = compare(contenders, tasks, split, n_tasks, session.device, bar.update)
    result, label = summarize_comparison(scores, session.recipe, tasks, split, n_tasks), tasks.metrics[0].label
    print_missing_intervals({f"{label} of {entry.label}": entry.score for entry in scores})
    print_missing_intervals({f"{entry.label} minus {names[0]}": entry.difference for entry in scores})
    print_result(as_json, result, lambda console: print_comparison(console, scores, tasks, split, n_tasks))
    if png:
        save_comparison(png, scores, tasks, split, n_tasks)
