"""`metacli draw`: a page to draw new classes on."""

from __future__ import annotations

from typing import Annotated

import typer

from metacli.cli.options import CHECKPOINT, Plugins, ThreadCount

EXAMPLES = "Examples: metacli draw | metacli draw -c runs/demo --no-open --port 8000"


def draw(
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", "-c", help=f"{CHECKPOINT} Default: a bundled model for this number of classes."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
) -> None:
    """Serve a local page where you draw new classes and see the answer while you draw."""
    from metacli.web.server import serve

    serve(checkpoint, port, open_page, threads)
