"""Migrates recipes of earlier formats to the current one, step by step, before they are validated.

A recipe that metacli wrote (recipe.yaml of a run, or the recipe inside a checkpoint) has every key and its `format`.
A recipe written by hand has no `format` and counts as format 1.
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
    """Returns a copy of a recipe in the current format, without the key `format`.

    Args:
        tree: a mapping. Values that are not mappings are copied without a check.
        source: for messages.

    Raises:
        UsageError: this metacli does not know the format.
    """
    version = tree.get("format", 1)
    if type(version) is not int or not 1 <= version <= FORMAT:
        problem = "is newer than" if type(version) is int and version > FORMAT else "is unknown to"
        known = f"this version of metacli, which reads formats 1 to {FORMAT}"
        raise UsageError(f"{source}: recipe format {shorten_value(version)} {problem} {known}")
    tree = {key: dict(part) if isinstance(part, dict) else part for key, part in tree.items() if key != "format"}
    for number in range(version, FORMAT):
        MIGRATIONS[number](tree)
    return tree
