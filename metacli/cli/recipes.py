"""`metacli recipes`: list, explain and copy the recipes that are part of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metacli.cli.options import AsJson, Plugins, print_result

EXAMPLES = (
    "Examples: metacli recipes stream mann | metacli recipes copy_ntm | metacli recipes copy_ntm --copy my.yaml | "
    "metacli recipes --keys ntm"
)


def recipes(
    words: Annotated[list[str] | None, typer.Argument(help="A recipe to explain, or words to search for.")] = None,
    keys: Annotated[str | None, typer.Option(help="Explain the keys of `train`, of a task or of a model.")] = None,
    copy: Annotated[Path | None, typer.Option(help="Copy the recipe to this new file, to edit it.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List the bundled recipes by task, explain one key by key, or copy one."""
    from metacli.show.recipes import report_recipes

    report = report_recipes(words or [], keys, copy)
    print_result(as_json, report.plain, report.draw)
