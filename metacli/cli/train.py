"""`metacli train`: one run, or one run for each of several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metacli.cli.options import (
    AsJson,
    Device,
    Overrides,
    Plugins,
    ThreadCount,
    examples,
    expand_paths,
    print_result,
    silence_stderr,
)
from metacli.compute import torchrun
from metacli.errors import UsageError
from metacli.system import operating_system, terminal

if TYPE_CHECKING:
    from metacli.config.recipe import Recipe
    from metacli.training.outcome import Outcome
    from metacli.training.progress import Progress

EXAMPLES = examples(
    "metacli train strokes_ntm --run-dir runs/first",
    "metacli train recipes/omniglot_ntm.yaml train.lr=3e-4 seed=1",
    "metacli train strokes_mann --seeds 0,1,2",
    "metacli train omniglot_ntm --dry-run",
    "metacli train --resume runs/first train.steps=2000",
)


def train(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A bundled recipe by its name, or a recipe file."),
    ] = None,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(callback=expand_paths, help="New run directory. Default: runs/<recipe>/<time>-seed<n>."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(callback=expand_paths, help="Resume this run. Set train.steps=N to train longer."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Start from the weights of this checkpoint."),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="Save and stop after this time, as in 2h, 90m, 45s or 1h30m.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Train and evaluate one run for each of these seeds, as in 0,1,2.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of --seeds to run in parallel.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate memory and time without training.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Train the model of a recipe on the tasks of the recipe."""
    if quiet:
        context.with_resource(silence_stderr())
    from metacli.training.stopping import Deadline

    deadline = None if time_limit is None else Deadline(time_limit)  # first, so that set-up counts too
    if resume and (run_dir or dry_run or init):
        raise UsageError("--resume continues an existing run", "leave out --run-dir, --dry-run and --init")
    if resume and recipe and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    if not (recipe or resume):
        raise UsageError("no recipe is given", "`metacli recipes` lists the bundled recipes")
    if recipe and "=" in recipe and not resume and not operating_system.expand_home(recipe).exists():
        raise UsageError(f"no recipe is given before {recipe!r}", f"as in: metacli train strokes_ntm {recipe}")
    rank = torchrun.current_rank()
    if dry_run and not rank.is_first:
        torchrun.print_idle(rank)
        raise typer.Exit
    context.with_resource(torchrun.silence_other_ranks(rank))
    if seeds is not None:
        if resume or dry_run or init or time_limit or recipe is None or rank.size > 1:
            excluded = "--resume, --dry-run, --init, --time-limit or torchrun"
            hint = "to resume, repeat the command with --run-dir and the folder of the runs"
            raise UsageError(f"--seeds needs a recipe and cannot be combined with {excluded}", hint)
        count = "1" if threads == "auto" and jobs > 1 else threads
        arguments, options = [recipe, *(overrides or [])], ["--device", device, "--threads", count]
        return _train_seeds(seeds, jobs, arguments, run_dir, options, plugin or [], as_json)
    plan = _load_recipe(recipe, overrides or [], resume) if rank.is_first else None

    from metacli.compute.device import choose_device
    from metacli.compute.processes import join
    from metacli.compute.threads import parse_thread_count
    from metacli.config.recipe import recipe_from_dict
    from metacli.training.loop import train as run_training
    from metacli.training.progress import Progress
    from metacli.training.run import RunPlan
    from metacli.training.warm_start import WarmStart

    thread_count = parse_thread_count(threads)
    if dry_run and plan:
        from metacli.show.dry_run import print_dry_run
        from metacli.training import dry_run as dry_runs

        chosen, reason = choose_device(device)
        progress = Progress(quiet)
        progress.print_fact("device", reason)
        start = None if init is None else WarmStart.from_checkpoint(init, plan)
        estimate = dry_runs.dry_run(plan, run_dir, chosen, progress, thread_count, start)
        return print_result(as_json, estimate, lambda console: print_dry_run(console, estimate))
    processes, chosen, reason = join(device)
    progress = Progress(quiet or not processes.is_first)
    progress.print_fact("device", reason)
    keys = processes.broadcast(plan.as_dict() if plan else {})
    shared = plan or recipe_from_dict(keys, "recipe")
    start = None if init is None else processes.run_on_first(lambda: WarmStart.from_checkpoint(init, shared))
    outcome = run_training(shared, RunPlan(run_dir, resume, start), chosen, progress, thread_count, deadline, processes)
    processes.leave()
    print_result(as_json, outcome.as_dict(), lambda _: terminal.print_to_stdout(*outcome.lines()))
    _print_next_command(outcome, progress, plugin or [])
    if outcome.code:
        raise typer.Exit(outcome.code)


def _load_recipe(recipe: str | None, overrides: list[str], resume: Path | None) -> Recipe:
    """The recipe of a new run, or of one to resume."""
    from metacli.config.recipe import load_recipe
    from metacli.runs.resume import recipe_to_resume

    if resume:
        return recipe_to_resume(resume, load_recipe(recipe, overrides) if recipe else None, overrides)
    assert recipe
    return load_recipe(recipe, overrides)


def _print_next_command(outcome: Outcome, progress: Progress, plugins: list[str]) -> None:
    """Say why a run stopped, and which command comes next."""
    needed = "".join(f" --plugin {source}" for source in plugins)
    if not outcome.finished or outcome.code:
        progress.print_lines(f"stopped at step {outcome.step} by {outcome.stopped}, saved")
        progress.print_lines(f"resume with: metacli train --resume {outcome.run}{needed}")
        return
    if outcome.stopped:
        progress.print_lines(f"stopped at step {outcome.step} for {outcome.stopped}, saved")
        progress.print_lines(f"resume anyway with: metacli train --resume {outcome.run}{needed} train.patience=0")
    progress.print_lines(f"next: metacli eval {outcome.run}{needed}")


def _train_seeds(
    seeds: str,
    jobs: int,
    arguments: list[str],
    run_dir: Path | None,
    options: list[str],
    plugins: list[str],
    as_json: bool,
) -> None:
    """Train and evaluate one run for each seed; `arguments` are the recipe and KEY=VALUE."""
    import time

    from metacli.config.recipe import load_recipe
    from metacli.runs.seeds import SeedRuns, parse_seeds
    from metacli.show.seeds import print_seeds

    name = load_recipe(arguments[0], arguments[1:]).name
    folder = run_dir or Path("runs") / name / f"{time.strftime('%Y%m%d-%H%M%S')}-seeds"
    needed = [word for source in plugins for word in ("--plugin", source)]
    runs = SeedRuns(arguments, parse_seeds(seeds), folder, [*options, *needed], jobs)
    if code := runs.execute():
        command = " ".join(["metacli train", *arguments, f"--seeds {seeds} --run-dir {folder}", *needed])
        terminal.print_to_stderr(f"not finished; resume with: {command}")
        raise typer.Exit(code)
    result = runs.summary(name)
    print_result(as_json, result, lambda console: print_seeds(console, result))
