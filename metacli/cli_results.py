"""The verbs over what was trained: the models that ship, learning curves, several models on the same tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from metacli.options import AsJson, Plugins, check_split, print_result

TASKS = 1000  # that each seed is evaluated on


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
    from metacli.show.seeds import print_seeds
    from metacli.training import seeds as many
    from metacli.training.progress import Progress

    plan = recipes.load(recipe, overrides)
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
