"""`metacli recipes`: list, explain and copy the bundled recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Plugins, examples, expand_paths, print_result

EXAMPLES = examples(
    "metacli recipes",
    "metacli recipes stream mann",
    "metacli recipes copy_ntm",
    "metacli recipes copy_ntm --copy my.yaml",
    "metacli recipes --keys ntm",
)


def recipes(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|WORD", help="A recipe to explain, or words to search for."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(help="Explain the keys of `train`, of a task or of a model."),
    ] = None,
    copy: Annotated[Path | None, typer.Option(callback=expand_paths, help="Copy the recipe to this new file.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List the bundled recipes, explain the keys of one, or copy one to edit it."""
    from metacli.show.recipes import report_recipes

    report = report_recipes(words or [], keys, copy)
    print_result(as_json, report.plain, report.draw)
