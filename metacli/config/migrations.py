"""Migrations of recipes: one of an earlier format is brought to today's, step by step, before it is validated.

A recipe that metacli wrote (recipe.yaml of a run, the one inside a checkpoint) holds every key and its `format`. One
written by hand has no format and counts as one of format 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metacli.config.display import shorten_value
from metacli.errors import UsageError

FORMAT = 1  # of the recipes that this metacli writes
Migration = Callable[[dict[str, Any]], None]  # changes a recipe and its sections in place
MIGRATIONS: dict[int, Migration] = {}  # from a format to the next one


def migrate(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """Returns a copy of a recipe in today's format, without the key `format`.

    Args:
        tree: a mapping. Values in it that are not mappings are left as they are.
        source: for messages.

    Raises:
        UsageError: this metacli does not know the format.
    """
    version = tree.get("format", 1)
    if type(version) is not int or not 1 <= version <= FORMAT:
        newer = "written by a newer metacli" if type(version) is int and version > FORMAT else "no format of a recipe"
        raise UsageError(f"{source}: format {shorten_value(version)}: {newer}; this one reads 1 to {FORMAT}")
    tree = {key: dict(part) if isinstance(part, dict) else part for key, part in tree.items() if key != "format"}
    for number in range(version, FORMAT):
        MIGRATIONS[number](tree)
    return tree
