"""`metacli draw`: a page to draw new classes on."""

from __future__ import annotations

from typing import Annotated

import typer

from metacli.cli.checkpoint_words import take_single
from metacli.cli.options import CHECKPOINT, CheckpointOption, Plugins, ThreadCount, examples

EXAMPLES = examples("metacli draw", "metacli draw runs/first --no-open --port 8000")


def draw(
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="CHECKPOINT", help=f"{CHECKPOINT} Default: a bundled model that fits the number of classes."
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on. 0 picks a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    threads: ThreadCount = "auto",
    plugin: Plugins = None,
) -> None:
    """Open a local page to draw new classes on. It shows the prediction while you draw."""
    from metacli.web.server import serve

    checkpoints = [*([checkpoint] if checkpoint else []), *([word] if word else [])]
    serve(take_single(checkpoints) if checkpoints else None, port, open_page, threads)
