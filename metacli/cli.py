"""The verbs: parse, call, render, exit code. torch is imported inside them, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metacli import __version__, cli_own, cli_results, screen
from metacli.errors import MetacliError, ToldError, UsageError
from metacli.machine import launch, memory, stdout, system
from metacli.options import (
    AsJson,
    CheckpointPath,
    CheckpointPaths,
    Device,
    Overrides,
    Plugins,
    SplitName,
    ThreadCount,
    check_split,
    hushed,
    print_result,
)
from metacli.registry import MODELS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Train, evaluate and look inside model-based meta-learners: {', '.join(MODELS)}.",
    epilog="Start with: metacli train strokes_ntm, then: metacli eval --checkpoint RUN_DIR",
)


WrongWords: Any = typer.BadParameter.__base__  # what typer raises for words that are no verb, option or value


@app.callback(invoke_without_command=True)
def _top(
    ctx: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if ctx.invoked_subcommand not in ("train", "eval") and not launch.place().first:
        raise typer.Exit  # of several processes, one is enough


@app.command(
    epilog="Examples: metacli train strokes_ntm | metacli train recipes/omniglot_ntm.yaml train.lr=3e-4 seed=1 | "
    "metacli train strokes_mann --seeds 0,1,2 | metacli train omniglot_ntm --dry-run | "
    "metacli train --resume runs/omniglot_ntm/20260101-120000-seed0"
)
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
    from metacli.training.halt import Deadline

    deadline = None if time_limit is None else Deadline(time_limit)  # from here on: all that comes first counts
    if resume and (run_dir or dry_run or init):
        raise UsageError("--resume goes on in its own run directory; leave out --run-dir, --dry-run and --init")
    if resume and recipe and "=" in recipe:
        overrides, recipe = [recipe, *(overrides or [])], None
    if not (recipe or resume):
        raise UsageError("no recipe", "`metacli recipes` lists those that ship")
    if seeds is not None:
        if resume or dry_run or init or time_limit or recipe is None or launch.place().size > 1:
            wrong = "--resume, --dry-run, --init and --time-limit, nor torchrun"
            raise UsageError(f"--seeds takes a recipe, and none of {wrong}", "the same command with --run-dir goes on")
        count = ["1"] if threads == "auto" and jobs > 1 else [threads]
        options = {"device": [device], "threads": count, "plugin": plugin or []}
        return cli_results.train_seeds(seeds, jobs, recipe, overrides or [], run_dir, options, as_json)
    plan: recipes.Recipe | None = None
    if not launch.place().first:
        if dry_run:
            raise typer.Exit  # one process tries it
    elif resume:
        from metacli.training.resume import next_recipe

        plan = next_recipe(resume, recipes.load(recipe, overrides) if recipe else None, overrides or [])
    elif recipe:
        plan = recipes.load(recipe, overrides)

    from metacli.machine import ranks
    from metacli.machine.runtime import choose_device
    from metacli.machine.threads import parse
    from metacli.training.initial import Initial
    from metacli.training.loop import train as run_training
    from metacli.training.progress import Progress

    wanted = parse(threads)
    if dry_run and plan:
        from metacli.show.dryrun import print_rehearsal
        from metacli.training.dryrun import rehearse

        chosen, reason = choose_device(device)
        progress = Progress(quiet)
        if init is not None:
            Initial.of(init, plan)
        progress.tell("device", reason)
        found = rehearse(plan, run_dir, chosen, progress, wanted)
        return print_result(as_json, found, lambda console: print_rehearsal(console, found))
    everyone, chosen, reason = ranks.join(device)
    progress = Progress(quiet or not everyone.first)
    progress.tell("device", reason)
    tree = everyone.tell(plan.as_dict() if plan else {})
    planned = plan or recipes.from_dict(tree, "recipe")
    start = None if init is None else everyone.first_does(lambda: Initial.of(init, planned))
    outcome = run_training(planned, run_dir, resume, chosen, progress, wanted, start, deadline, everyone)
    everyone.leave()
    print_result(as_json, outcome.as_dict(), lambda _: screen.tell(*outcome.lines()))
    needed = "".join(f" --plugin {source}" for source in plugin or [])
    if not outcome.finished or outcome.code:
        progress.say(f"stopped at step {outcome.step} by {outcome.stopped}, saved")
        progress.say(f"go on with: metacli train --resume {outcome.run}{needed}")
        raise typer.Exit(outcome.code)
    if outcome.stopped:
        progress.say(f"stopped at step {outcome.step} for {outcome.stopped}, saved")
        progress.say(f"go on all the same with: metacli train --resume {outcome.run}{needed} train.patience=0")
    progress.say(f"next: metacli eval --checkpoint {outcome.run}{needed}")


@app.command(
    "eval",
    epilog="Examples: metacli eval -c runs/demo | metacli eval -c best.pt task.shots=5 --tasks 200 --json | "
    "metacli eval -c runs/mann -c runs/snail --png compared.png",
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
        return cli_results.compare(checkpoint, overrides or [], tasks, split, png, device, threads, as_json)
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


@app.command("sample-tasks", epilog="Examples: metacli sample-tasks strokes_ntm | metacli sample-tasks copy_ntm -n 1")
def sample_tasks(
    recipe: Annotated[str, typer.Argument(help="A recipe: a path, or the name of one that ships.")],
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="How many tasks.")] = 3,
    split: SplitName = "train",
    png: Annotated[Path | None, typer.Option(help="Also draw them into this picture.")] = None,
    npz: Annotated[Path | None, typer.Option(help="Also write their arrays to this file.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show a few tasks: D_train, which the model reads, and D_test, which it is asked about."""
    part = check_split(split)
    from metacli.config import recipe as recipes
    from metacli.registry import TASKS, build
    from metacli.show import picture
    from metacli.show.samples import draw_samples
    from metacli.tasks import sample

    plan = recipes.load(recipe, overrides)
    samples = sample.collect(build(TASKS, plan.task, plan.seed), part, count)
    print_result(as_json, sample.as_json(samples), lambda console: draw_samples(console, samples))
    if png:
        picture.save_samples(png, samples)
    if npz:
        sample.save_npz(npz, samples)


@app.command(
    "inspect-memory",
    epilog="Examples: metacli inspect-memory -c runs/demo | metacli inspect-memory -c runs/demo --task 3 --out look | "
    "metacli inspect-memory -c runs/demo --tasks 200 | metacli inspect-memory -c best.pt task.ways=3 --head read0",
)
def inspect_memory(
    checkpoint: CheckpointPath,
    overrides: Overrides = None,
    task: Annotated[int, typer.Option(help="Which task of the split to look at.")] = 0,
    tasks: Annotated[int | None, typer.Option(min=1, help="Measure memory over this many tasks instead.")] = None,
    split: SplitName = "test",
    out: Annotated[Path | None, typer.Option(help="Also write the trace to files in this folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="Which files --out gets.")] = "npz,png,html,json",
    head: Annotated[list[str] | None, typer.Option(help="Show this head (as in read0), or all; repeatable.")] = None,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Look into the memory: what each step wrote where, what each question read, and why it was right or wrong."""
    part = check_split(split)
    from tqdm import tqdm

    from metacli.inspect import command
    from metacli.inspect.measures import print_usage
    from metacli.inspect.terminal import print_trace
    from metacli.machine.runtime import choose_device
    from metacli.machine.runtime import prepare as prepare_runtime
    from metacli.machine.threads import choose, parse
    from metacli.training import checkpoint as checkpoints
    from metacli.training import weights
    from metacli.training.progress import tell
    from metacli.training.trial import forward_pass

    if tasks and (out or head):
        raise UsageError("--tasks measures all heads over many tasks", "leave out --tasks, or --out and --head")
    wanted, count = command.formats(formats) if out else [], parse(threads)
    saved = checkpoints.load(weights.find(checkpoint))
    prepare_runtime(saved.recipe.seed)
    chosen, reason = choose_device(device)
    model, distribution = command.prepare(saved, overrides or [], part, chosen)
    tell(device=reason, tasks=distribution.describe())
    tell(threads=choose(count, forward_pass(model, distribution, part, chosen, tasks or 1)))
    if tasks:
        with tqdm(total=tasks, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
            summary = command.many_tasks(model, distribution, part, tasks, bar.update)
        return print_result(as_json, summary, lambda console: print_usage(console, summary))
    trace = command.one_task(model, distribution, part, task, head or [])
    print_result(as_json, command.as_json(trace), lambda console: print_trace(console, trace, head or []))
    for path in command.save(out, trace, wanted, head or []) if out else []:
        screen.say(f"wrote   {path}")


@app.command(
    "recipes",
    epilog="Examples: metacli recipes stream mann | metacli recipes copy_ntm | metacli recipes copy_ntm --copy my.yaml "
    "| metacli recipes --keys ntm",
)
def list_recipes(
    words: Annotated[list[str] | None, typer.Argument(help="A recipe to explain, or words to search for.")] = None,
    keys: Annotated[str | None, typer.Option(help="Explain the keys of: train, or a task or model.")] = None,
    copy: Annotated[Path | None, typer.Option(help="Copy the recipe to this new file, to start your own.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List the recipes that ship, by task; explain one, key by key; copy one."""
    from metacli.show.recipes import answer

    found = answer(words or [], keys, copy)
    print_result(as_json, found.plain, found.draw)


app.command(
    epilog="Examples: metacli predict --support my-classes --query a.png b.png | "
    "metacli predict --support my-classes --query folder --png sheet.png | "
    "metacli predict -c runs/demo --support my-classes --query folder --orders 50 --json"
)(cli_own.predict)
app.command(epilog="Examples: metacli draw | metacli draw -c runs/demo --no-open --port 8000")(cli_own.draw)

app.command(epilog="Examples: metacli models | metacli models --json")(cli_results.models)
app.command(epilog="Examples: metacli curves runs/demo | metacli curves runs/mann/* runs/snail/* --png curves.png")(
    cli_results.curves
)


def main() -> None:
    """The entry point: runs a verb and turns expected errors into `error:` and `hint:` and an exit status."""
    screen.prepare()
    here = launch.Place()
    try:
        here = launch.place()
        with launch.voice(here), stdout.written(), memory.explained():
            code = app(prog_name="metacli", standalone_mode=False)
        raise SystemExit(code)
    except WrongWords as e:
        if (said := e.format_message()) and not here.local_rank:  # nothing where the help is shown instead
            screen.say(*UsageError(said, f"{e.ctx.command_path} --help" if e.ctx else "").lines)
        raise SystemExit(e.exit_code) from None
    except MetacliError as e:
        if not isinstance(e, ToldError) and not (isinstance(e, UsageError) and here.local_rank):  # alike on a machine
            launch.tell_error(e, here)
        raise SystemExit(e.code) from None
    except KeyboardInterrupt:
        screen.say("interrupted")
        raise SystemExit(130) from None
    except OSError as e:
        if not system.reader_gone(e):
            raise
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
