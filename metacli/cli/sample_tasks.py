"""`metacli sample-tasks`: a few tasks of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Overrides, Plugins, SplitName, print_result

EXAMPLES = "Examples: metacli sample-tasks strokes_ntm | metacli sample-tasks copy_ntm -n 1"


def sample_tasks(
    recipe: Annotated[str, typer.Argument(help="The path of a recipe, or the name of a bundled one.")],
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="Number of tasks.")] = 3,
    split: SplitName = "train",
    png: Annotated[Path | None, typer.Option(help="Save a picture of the tasks to this file.")] = None,
    npz: Annotated[Path | None, typer.Option(help="Save the arrays of the tasks to this file.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show a few tasks: the support set D_train, which the model reads, and the query set D_test."""
    from metacli.config.recipe import load_recipe
    from metacli.registry import TASKS, build
    from metacli.show import picture
    from metacli.show.figures import require_matplotlib
    from metacli.show.samples import print_samples
    from metacli.tasks import sample

    if png:
        require_matplotlib()
    plan = load_recipe(recipe, overrides)
    samples = sample.collect_samples(build(TASKS, plan.task, plan.seed), split, count)
    print_result(as_json, sample.as_json(samples), lambda console: print_samples(console, samples))
    if png:
        picture.save_samples(png, samples)
    if npz:
        sample.save_npz(npz, samples)
