"""`metacli sample-tasks`: a few tasks of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Force, Overrides, Plugins, SplitName, examples, output_file, print_result

EXAMPLES = examples(
    "metacli sample-tasks strokes_ntm", "metacli sample-tasks copy_ntm -n 1", "metacli sample-tasks runs/first"
)


def sample_tasks(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A bundled recipe by its name, a recipe file, or a run directory."),
    ],
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="Number of tasks.")] = 3,
    split: SplitName = "train",
    png: Annotated[Path | None, output_file(".png", "Save a picture of the tasks to this file.")] = None,
    npz: Annotated[Path | None, output_file(".npz", "Save the arrays of the tasks to this file.")] = None,
    force: Force = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show a few tasks of a recipe: the support set D_train and the query set D_test of each."""
    from metacli.config.overrides import held_out_seed
    from metacli.config.recipe import load_recipe, recipe_of_run
    from metacli.registry import TASKS, build
    from metacli.show import picture
    from metacli.show.samples import print_samples
    from metacli.system import outputs
    from metacli.tasks import sample

    plan = load_recipe(recipe_of_run(recipe) or recipe, overrides)
    tasks = build(TASKS, plan.task, plan.seed, held_out_seed(overrides or []))
    if png:
        outputs.check_no_input(png, "--png", class_root=tasks.class_root)
    samples = sample.collect_samples(tasks, split, count)
    print_result(as_json, sample.as_json(samples), lambda console: print_samples(console, samples))
    if png:
        picture.save_samples(png, samples)
    if npz:
        sample.save_npz(npz, samples)
