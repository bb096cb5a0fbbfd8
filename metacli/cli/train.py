"""The verb that trains: one run, or one for each of several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Device, Overrides, Plugins, ThreadCount, hushed, print_result
from metacli.compute import torchrun
from metacli.errors import UsageError
from metacli.system import terminal

TASKS = 1000  # that each of several seeds is evaluated on


def train(
    context: typer.Context,
    recipe: Annotated[str | None, typer.Argument(help="A recipe: a path, or the name of one that ships.")] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where to write; default runs/<recipe>/<time>-seed<n>.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run; train.steps=N extends it.")] = None,
    init: Annotated[str | None, typer.Option(help="Begin from its weights: a .pt file, run or shipped name.")] = None,
    time_limit: Annotated[str | None, typer.Option(help="Stop and save after 2h, 90m, 45s or 1h30m.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Train and evaluate one run for each, as in 0,1,2.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many of the --seeds run side by side.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take; write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Nothing on stderr but errors.")] = False,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Train a meta-learner by a recipe."""
    if quiet:
        context.with_resource(hushed())
    from metacli.config import recipe as recipes
    from metacli.training.stopping import Deadline

    deadline = None if time_limit is None else Deadline(time_limit)  # from here on: all that comes first counts
    if resume and (run_dir or dry_run or init):
        raise UsageError("--resume goes on in its own run directory; leave out --run-dir, --dry-run and --init")
    if resume and recipe and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    if not (recipe or resume):
        raise UsageError("no recipe", "`metacli recipes` lists those that ship")
    if seeds is not None:
        if resume or dry_run or init or time_limit or recipe is None or torchrun.place().size > 1:
            wrong = "--resume, --dry-run, --init and --time-limit, nor torchrun"
            raise UsageError(f"--seeds takes a recipe, and none of {wrong}", "the same command with --run-dir goes on")
        count = ["1"] if threads == "auto" and jobs > 1 else [threads]
        options = {"device": [device], "threads": count, "plugin": plugin or []}
        return train_seeds(seeds, jobs, recipe, overrides or [], run_dir, options, as_json)
    plan: recipes.Recipe | None = None
    if not torchrun.place().first:
        if dry_run:
            raise typer.Exit  # one process tries it
    elif resume:
        from metacli.runs.resume import next_recipe

        plan = next_recipe(resume, recipes.load_recipe(recipe, overrides) if recipe else None, overrides or [])
    elif recipe:
        plan = recipes.load_recipe(recipe, overrides)

    from metacli.compute import processes
    from metacli.compute.device import choose_device
    from metacli.compute.threads import parse
    from metacli.training.loop import train as run_training
    from metacli.training.progress import Progress
    from metacli.training.run import RunPlan
    from metacli.training.warm_start import WarmStart

    wanted = parse(threads)
    if dry_run and plan:
        from metacli.show.dry_run import print_dry_run
        from metacli.training import dry_run as dry_runs

        chosen, reason = choose_device(device)
        progress = Progress(quiet)
        given = WarmStart.from_checkpoint(init, plan) if init is not None else None
        progress.tell("device", reason)
        found = dry_runs.dry_run(plan, run_dir, chosen, progress, wanted, given)
        return print_result(as_json, found, lambda console: print_dry_run(console, found))
    everyone, chosen, reason = processes.join(device)
    progress = Progress(quiet or not everyone.first)
    progress.tell("device", reason)
    tree = everyone.broadcast(plan.as_dict() if plan else {})
    planned = plan or recipes.recipe_from_dict(tree, "recipe")
    start = None if init is None else everyone.run_on_first(lambda: WarmStart.from_checkpoint(init, planned))
    outcome = run_training(planned, RunPlan(run_dir, resume, start), chosen, progress, wanted, deadline, everyone)
    everyone.leave()
    print_result(as_json, outcome.as_dict(), lambda _: terminal.tell(*outcome.lines()))
    needed = "".join(f" --plugin {source}" for source in plugin or [])
    if not outcome.finished or outcome.code:
        progress.say(f"stopped at step {outcome.step} by {outcome.stopped}, saved")
        progress.say(f"go on with: metacli train --resume {outcome.run}{needed}")
        raise typer.Exit(outcome.code)
    if outcome.stopped:
        progress.say(f"stopped at step {outcome.step} for {outcome.stopped}, saved")
        progress.say(f"go on all the same with: metacli train --resume {outcome.run}{needed} train.patience=0")
    progress.say(f"next: metacli eval --checkpoint {outcome.run}{needed}")


def train_seeds(
    seeds: str,
    jobs: int,
    recipe: str,
    overrides: list[str],
    run_dir: Path | None,
    options: dict[str, list[str]],
    as_json: bool,
) -> None:
    """`train` with several seeds: train and evaluate each, in a folder that holds them all.

    Args:
        options: of `train`, passed on by their names.
    """
    import time

    from metacli.config import recipe as recipes
    from metacli.runs import seeds as many
    from metacli.show.seeds import print_seeds
    from metacli.training.progress import Progress

    plan = recipes.load_recipe(recipe, overrides)
    say = Progress().say
    folder = run_dir or Path("runs") / plan.name / f"{time.strftime('%Y%m%d-%H%M%S')}-seeds"
    given = [word for name, values in options.items() for value in values for word in (f"--{name}", value)]
    plugins = [word for value in options.get("plugin", []) for word in ("--plugin", value)]
    wanted = []
    for number in many.parse(seeds):
        run = folder / f"seed{number}"
        place = ["--resume" if (run / "recipe.yaml").is_file() else "--run-dir", str(run)]
        training = ["train", recipe, *overrides, f"seed={number}", *place, *given, "--json"]
        evaluation = ["eval", "--checkpoint", str(run), "--tasks", str(TASKS), *given, "--json"]
        wanted.append(many.Seed(number, run, [training, evaluation]))
    code = many.work(wanted, jobs, say)
    if code:
        again = " ".join(["metacli train", recipe, *overrides, f"--seeds {seeds} --run-dir {folder}", *plugins])
        say(f"not finished; go on with: {again}")
        raise typer.Exit(code)
    result = many.summary(folder, plan.name, wanted)
    print_result(as_json, result, lambda console: print_seeds(console, result))
