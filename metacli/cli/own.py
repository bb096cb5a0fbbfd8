"""The verbs for a person's own classes, as in `metacli.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import CHECKPOINT, AsJson, Plugins, ThreadCount, print_result


def predict(
    support: Annotated[Path, typer.Option(help="A folder: one directory for each new class, a picture or more in it.")],
    query: Annotated[list[Path], typer.Option(help="A picture or a folder of them; more may follow.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[QUERY]...", help="Further ones.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", "-c", help=f"{CHECKPOINT} Default: what suits.")
    ] = None,
    orders: Annotated[int | None, typer.Option(min=1, max=1000, help="Orders of the examples to average over.")] = None,
    png: Annotated[Path | None, typer.Option(help="Also draw a contact sheet into this picture.")] = None,
    threads: ThreadCount = "1",
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Recognise new classes from a few pictures of each: no training, one look at the examples."""
    from metacli.classifier import prediction
    from metacli.classifier.contact_sheet import save_sheet
    from metacli.classifier.learner import ORDERS, load
    from metacli.classifier.table import print_prediction
    from metacli.compute.threads import choose, parse

    choose(parse(threads))
    found = prediction.predict(load(checkpoint, orders=orders or ORDERS), support, [*query, *(more or [])])
    prediction.print_notes(found)
    print_result(as_json, found.as_json(), lambda console: print_prediction(console, found))
    if png:
        save_sheet(png, found)
    raise typer.Exit(0 if found.queries else 1)


def draw(
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", "-c", help=f"{CHECKPOINT} Default: the shipped one that suits.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
) -> None:
    """Draw new classes on a page of this machine, then ask: the answer comes while you draw."""
    from metacli.web.server import serve

    serve(checkpoint, port, open_page, threads)
