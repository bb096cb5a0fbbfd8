"""`metacli predict`: new classes from a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import CHECKPOINT, AsJson, Plugins, ThreadCount, print_result

EXAMPLES = (
    "Examples: metacli predict --support my-classes --query a.png b.png | "
    "metacli predict --support my-classes --query folder --png sheet.png | "
    "metacli predict -c runs/demo --support my-classes --query folder --orders 50 --json"
)


def predict(
    support: Annotated[Path, typer.Option(help="A folder with one directory per class, each with one or more images.")],
    query: Annotated[list[Path], typer.Option(help="An image, or a folder of images. More may follow.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[QUERY]...", help="More images or folders.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", help=f"{CHECKPOINT} Default: a bundled model for this number of classes."),
    ] = None,
    orders: Annotated[int | None, typer.Option(min=1, max=1000, help="Support set orders to average over.")] = None,
    png: Annotated[Path | None, typer.Option(help="Save a contact sheet to this file.")] = None,
    threads: ThreadCount = "1",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Recognise new classes from a few images of each, without training."""
    from metacli.classifier import prediction
    from metacli.classifier.contact_sheet import save_sheet
    from metacli.classifier.learner import ORDERS, load
    from metacli.classifier.table import print_prediction
    from metacli.compute.threads import choose_threads, parse_thread_count
    from metacli.show.figures import require_matplotlib
    from metacli.system.package_data import resolve_example

    if png:
        require_matplotlib()
    choose_threads(parse_thread_count(threads))
    queries = [resolve_example(path) for path in [*query, *(more or [])]]
    result = prediction.predict(load(checkpoint, orders=orders or ORDERS), resolve_example(support), queries)
    prediction.print_notes(result)
    print_result(as_json, result.as_json(), lambda console: print_prediction(console, result))
    if png:
        save_sheet(png, result)
    raise typer.Exit(0 if result.queries else 1)
