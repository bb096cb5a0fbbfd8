"""`metacli predict`: new classes from a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.checkpoint_words import take_out_checkpoint
from metacli.cli.options import (
    CHECKPOINT,
    AsJson,
    CheckpointOption,
    Force,
    Plugins,
    ThreadCount,
    examples,
    expand_paths,
    output_file,
    print_result,
)

EXAMPLES = examples(
    "metacli predict --support my-classes --query a.png b.png",
    "metacli predict --support my-classes --query folder --min-probability 0.9 --png sheet.png",
    "metacli predict runs/first --support my-classes --query folder --orders 50 --json",
)


def predict(
    support: Annotated[
        Path, typer.Option(callback=expand_paths, help="Support set: a folder with one directory of images per class.")
    ],
    query: Annotated[
        list[Path], typer.Option(callback=expand_paths, help="Query: an image or a folder of images. More may follow.")
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CHECKPOINT|QUERY",
            help=f"{CHECKPOINT} Default: a bundled model that fits the classes. Other words are queries.",
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    orders: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Number of support set orders to average predictions over. Default: 10."),
    ] = None,
    min_probability: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="P", help="Mark answers with a lower probability as unsure, from 0 to 1."),
    ] = 0.0,
    prepare: Annotated[
        bool,
        typer.Option(
            "--prepare/--no-prepare",
            help="Crop and redraw characters, or scale whole images. For models trained with task.prepare.",
        ),
    ] = True,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert",
            help="Read all images as dark ink on light paper, or as light ink on dark paper. Default: detect it.",
        ),
    ] = None,
    png: Annotated[Path | None, output_file(".png", "Save a contact sheet to this file.")] = None,
    csv: Annotated[Path | None, output_file(".csv", "Save the answers to this file, one row per query.")] = None,
    force: Force = False,
    threads: ThreadCount = "1",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Classify images into new classes, given a few images of each class. No training is needed."""
    from metacli.classifier import prediction
    from metacli.classifier.contact_sheet import save_sheet
    from metacli.classifier.learner import ORDERS, load
    from metacli.classifier.table import print_prediction
    from metacli.compute.threads import choose_threads, parse_thread_count
    from metacli.show.csv_file import save_table
    from metacli.system import outputs
    from metacli.system.package_data import resolve_example

    name, more = take_out_checkpoint(words, checkpoint)
    queries, root = [resolve_example(path) for path in [*query, *expand_paths(more)]], resolve_example(support)
    if png:
        outputs.check_no_input(png, "--png", queries, root)
    choose_threads(parse_thread_count(threads))
    learner = load(name, orders=orders or ORDERS, prepare=prepare, invert=invert, min_probability=min_probability)
    result = prediction.predict(learner, root, queries)
    prediction.print_notes(result)
    print_result(as_json, result.as_json(), lambda console: print_prediction(console, result))
    if png:
        save_sheet(png, result)
    if csv:
        save_table(csv, *prediction.answer_table(result))
    raise typer.Exit(0 if result.queries else 1)
