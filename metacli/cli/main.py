"""The verbs: parse, call, render, exit code. torch is imported inside them, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metacli.cli import own, results, train
from metacli.cli.options import (
    AsJson,
    CheckpointPath,
    Device,
    Overrides,
    Plugins,
    SplitName,
    ThreadCount,
    check_split,
    print_result,
)
from metacli.compute import torchrun
from metacli.errors import MetacliError, ReportedElsewhereError, UsageError
from metacli.registry import MODELS
from metacli.system import memory, operating_system, stdout, terminal
from metacli.version import __version__

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
    if ctx.invoked_subcommand not in ("train", "eval") and not torchrun.place().first:
        raise typer.Exit  # of several processes, one is enough


app.command(
    epilog="Examples: metacli train strokes_ntm | metacli train recipes/omniglot_ntm.yaml train.lr=3e-4 seed=1 | "
    "metacli train strokes_mann --seeds 0,1,2 | metacli train omniglot_ntm --dry-run | "
    "metacli train --resume runs/omniglot_ntm/20260101-120000-seed0"
)(train.train)
app.command(
    "eval",
    epilog="Examples: metacli eval -c runs/demo | metacli eval -c best.pt task.shots=5 --tasks 200 --json | "
    "metacli eval -c runs/mann -c runs/snail --png compared.png",
)(results.evaluate)


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

    plan = recipes.load_recipe(recipe, overrides)
    samples = sample.collect_samples(build(TASKS, plan.task, plan.seed), part, count)
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

    from metacli.checkpoints import bundled
    from metacli.checkpoints import checkpoint as checkpoints
    from metacli.compute.device import choose_device
    from metacli.compute.device import prepare as prepare_runtime
    from metacli.compute.threads import choose, parse
    from metacli.inspect import inspection
    from metacli.inspect.terminal import print_trace
    from metacli.inspect.usage import print_usage
    from metacli.training.progress import tell
    from metacli.training.thread_trials import forward_pass

    if tasks and (out or head):
        raise UsageError("--tasks measures all heads over many tasks", "leave out --tasks, or --out and --head")
    wanted, count = inspection.formats(formats) if out else [], parse(threads)
    saved = checkpoints.load(bundled.find(checkpoint))
    prepare_runtime(saved.recipe.seed)
    chosen, reason = choose_device(device)
    model, distribution = inspection.prepare(saved, overrides or [], part, chosen)
    tell(device=reason, tasks=distribution.describe())
    tell(threads=choose(count, forward_pass(model, distribution, part, chosen, tasks or 1)))
    if tasks:
        with tqdm(total=tasks, unit="task", file=sys.stderr, disable=None, leave=False) as bar:
            summary = inspection.many_tasks(model, distribution, part, tasks, bar.update)
        return print_result(as_json, summary, lambda console: print_usage(console, summary))
    trace = inspection.one_task(model, distribution, part, task, head or [])
    print_result(as_json, inspection.as_json(trace), lambda console: print_trace(console, trace, head or []))
    for path in inspection.save(out, trace, wanted, head or []) if out else []:
        terminal.say(f"wrote   {path}")


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
)(own.predict)
app.command(epilog="Examples: metacli draw | metacli draw -c runs/demo --no-open --port 8000")(own.draw)

app.command(epilog="Examples: metacli models | metacli models --json")(results.models)
app.command(epilog="Examples: metacli curves runs/demo | metacli curves runs/mann/* runs/snail/* --png curves.png")(
    results.curves
)


def main() -> None:
    """The entry point: runs a verb and turns expected errors into `error:` and `hint:` and an exit status."""
    terminal.prepare()
    here = torchrun.Place()
    try:
        here = torchrun.place()
        with torchrun.silence_other_ranks(here), stdout.written(), memory.explained():
            code = app(prog_name="metacli", standalone_mode=False)
        raise SystemExit(code)
    except WrongWords as e:
        if (said := e.format_message()) and not here.local_rank:  # nothing where the help is shown instead
            terminal.say(*UsageError(said, f"{e.ctx.command_path} --help" if e.ctx else "").lines)
        raise SystemExit(e.exit_code) from None
    except MetacliError as e:
        if not isinstance(e, ReportedElsewhereError) and not (
            isinstance(e, UsageError) and here.local_rank
        ):  # alike on a machine
            torchrun.tell_error(e, here)
        raise SystemExit(e.code) from None
    except KeyboardInterrupt:
        terminal.say("interrupted")
        raise SystemExit(130) from None
    except OSError as e:
        if not operating_system.reader_gone(e):
            raise
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
