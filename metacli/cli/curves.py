"""`metacli curves`: learning curves of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Force, Plugins, examples, expand_paths, output_file, print_result

EXAMPLES = examples("metacli curves runs/first", "metacli curves runs/mann/* runs/snail/* --png curves.png")


def curves(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN_DIR", callback=expand_paths, help="Run directories."),
    ],
    png: Annotated[
        Path | None,
        output_file(".png", "Save a plot to this file. Several seeds of a recipe become a mean and a band."),
    ] = None,
    csv: Annotated[Path | None, output_file(".csv", "Save all scores to this file, one row per step.")] = None,
    force: Force = False,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show the learning curves of one or several runs."""
    from metacli.runs.learning_curves import CURVE_COLUMNS, curve_table, load_curve
    from metacli.show.csv_file import save_table
    from metacli.show.curves import print_curves, save_curves

    loaded = [load_curve(run) for run in runs]
    print_result(as_json, [c.as_dict() for c in loaded], lambda console: print_curves(console, loaded))
    if png:
        save_curves(png, loaded)
    if csv:
        save_table(csv, curve_table(loaded), CURVE_COLUMNS)
