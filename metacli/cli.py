"""The verbs: parse, call, render, exit code. torch is imported inside them, so that --help is quick."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metacli import __version__, cli_own, cli_results
from metacli.errors import MetacliError, UsageError
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
    print_result,
)
from metacli.registry import MODELS

if TYPE_CHECKING:
    pass

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Train, evaluate and look inside model-based meta-learners: {', '.join(MODELS)}.",
    epilog="Start with: metacli train strokes_ntm, then: metacli eval --checkpoint RUN_DIR",
)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command(
    epilog="Examples: metacli train strokes_ntm | metacli train recipes/omniglot_ntm.yaml train.lr=3e-4 seed=1 | "
    "metacli train strokes_mann --seeds 0,1,2 | metacli train omniglot_ntm --dry-run | "
    "metacli train --resume runs/omniglot_ntm/20260101-120000-seed0"
)
def train(
    recipe: Annotated[str | None, typer.Argument(help="A recipe: a path, or the name of one that ships.")] = None,
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where to write; default runs/<recipe>/<time>-seed<n>.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run directory.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Train and evaluate one run for each, as in 0,1,2.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="How many of the --seeds run side by side.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take; write nothing.")] = False,
    device: Device = "auto",
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Train a meta-learner by a recipe."""
    from metacli.config import recipe as recipes

    if resume and (run_dir or dry_run):
        raise UsageError("--resume goes on in its own run directory; leave out --run-dir and --dry-run")
    if resume and recipe and "=" in recipe:
        raise UsageError(
            f"--resume goes on by the run's own recipe; leave out {recipe}", "start another run to change it"
        )
    if seeds is not None:
        if resume or dry_run or recipe is None:
            raise UsageError("--seeds takes a recipe, and neither --resume nor --dry-run", "the same command goes on")
        count = ["1"] if threads == "auto" and jobs > 1 else [threads]
        options = {"device": [device], "threads": count, "plugin": plugin or []}
        return cli_results.train_seeds(seeds, jobs, recipe, overrides or [], run_dir, options, as_json)
    if recipe is None:
        if resume is None:
            raise UsageError("no recipe", "`metacli recipes` lists those that ship")
        from metacli.training.rundir import RunDir

        plan = RunDir.reopen(resume)[1]
    else:
        plan = recipes.load(recipe, overrides)

    from metacli.machine.runtime import choose_device
    from metacli.machine.threads import parse
    from metacli.training.loop import train as run_training
    from metacli.training.progress import Progress

    wanted = parse(threads)
    chosen, reason = choose_device(device)
    progress = Progress()
    progress.tell("device", reason)
    if dry_run:
        from metacli.show.dryrun import print_rehearsal
        from metacli.training.dryrun import rehearse

        found = rehearse(plan, run_dir, chosen, progress, wanted)
        return print_result(as_json, found, lambda console: print_rehearsal(console, found))
    outcome = run_training(plan, run_dir, resume, chosen, progress, wanted)
    print_result(as_json, outcome.as_dict(), lambda _: print(outcome))
    needed = "".join(f" --plugin {source}" for source in plugin or [])
    if outcome.code:
        progress.say(f"stopped at step {outcome.step}, saved; go on with: metacli train --resume {outcome.run}{needed}")
        raise typer.Exit(outcome.code)
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
        return cli_results.compare(checkpoint, overrides or [], tasks, split, png, device, threads, as_json)
    if png:
        raise UsageError("--png draws several checkpoints side by side", "give --checkpoint more than once")
    from tqdm import tqdm

    from metacli.machine.runtime import choose_device, prepare
    from metacli.machine.threads import choose, parse
    from metacli.show.results import print_evaluation
    from metacli.training import checkpoint as checkpoints
    from metacli.training import weights
    from metacli.training.evaluation import evaluate as run_evaluation
    from metacli.training.evaluation import tasks_for
    from metacli.training.progress import tell
    from metacli.training.results import summary
    from metacli.training.rundir import keep_evaluation
    from metacli.training.trial import forward_pass

    wanted = parse(threads)
    saved = checkpoints.load(weights.find(checkpoint[0]))
    recipe, distribution = tasks_for(saved, overrides or [], part)
    prepare(recipe.seed)
    chosen, reason = choose_device(device)
    model = saved.build_model().to(chosen)
    tell(device=reason, tasks=distribution.describe())
    tell(threads=choose(wanted, forward_pass(model, distribution, part, chosen, tasks)))
    with tqdm(total=tasks, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
        scores = run_evaluation(model, distribution, part, tasks, chosen, bar.update)
    result = summary(scores, recipe, distribution, str(saved.path), saved.step, split)
    print_result(as_json, result, lambda console: print_evaluation(console, result, distribution, show))
    if not overrides and (reason := keep_evaluation(saved.path, result)):
        print(f"note: not kept: {reason}", file=sys.stderr)


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
    if png:
        picture.save_samples(png, samples)
    if npz:
        sample.save_npz(npz, samples)
    print_result(as_json, sample.as_json(samples), lambda console: draw_samples(console, samples))


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
        print(f"wrote   {path}", file=sys.stderr)


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
    try:
        app(prog_name="metacli")
    except MetacliError as e:
        print(f"error: {e.message}" + (f"\nhint: {e.hint}" if e.hint else ""), file=sys.stderr)
        raise SystemExit(e.code) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
