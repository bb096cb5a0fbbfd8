"""`metacli runs`: the runs in a folder, or the recipe keys in which runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Plugins, examples, expand_paths, print_result

EXAMPLES = examples("metacli runs", "metacli runs runs/strokes_ntm", "metacli runs runs/a runs/b")


def runs(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR|RUN_DIR", callback=expand_paths, help="A folder to search, default runs; or several runs."
        ),
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder with their step, best score and state. Or show the recipe keys in which runs differ."""
    from metacli.runs import listing
    from metacli.show.runs import print_differences, print_runs

    chosen = paths or [Path("runs")]
    if len(chosen) == 1:
        found = listing.list_runs(chosen[0])
        return print_result(as_json, [run.as_dict() for run in found], lambda console: print_runs(console, found))
    differences = listing.recipe_differences(chosen)
    plain = {"runs": [str(path) for path in chosen], "keys": differences}
    print_result(as_json, plain, lambda console: print_differences(console, chosen, differences))
