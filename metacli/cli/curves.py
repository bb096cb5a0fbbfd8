"""`metacli curves`: learning curves of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Plugins, examples, print_result

EXAMPLES = examples("metacli curves runs/first", "metacli curves runs/mann/* runs/snail/* --png curves.png")


def curves(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR", help="Run directories."),
    ],
    png: Annotated[Path | None, typer.Option(help="Save a plot of the curves to this file.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the learning curves of one or several runs."""
    from metacli.runs.learning_curves import load_curve
    from metacli.show.curves import print_curves, save_curves
    from metacli.show.figures import require_matplotlib

    if png:
        require_matplotlib()
    loaded = [load_curve(run) for run in runs]
    if png:
        save_curves(png, loaded)
    print_result(as_json, [c.as_dict() for c in loaded], lambda console: print_curves(console, loaded))
