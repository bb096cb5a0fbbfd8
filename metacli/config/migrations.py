"""Older spellings: a recipe of any earlier format is brought to today's, step by step, before it is validated.

A recipe that metacli wrote (recipe.yaml of a run, the one inside a checkpoint) holds every key and its `format`. One
written by hand has no format and may use any spelling that there has ever been.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from metacli.config.display import shorten_key, shorten_value
from metacli.errors import UsageError

FORMAT = 2  # of the recipes that this metacli writes


class Step(NamedTuple):
    """What changed with a format.

    Attributes:
        format: the one that it leads to.
        change: changes a tree in place; returns notes, each of an old and a new spelling.
    """

    format: int
    change: Callable[[dict[str, Any]], list[str]]


def migrated(tree: dict[str, Any], source: str) -> tuple[dict[str, Any], list[str]]:
    """A recipe's tree with today's spellings and without `format`, and a note for each that was an older one.

    Args:
        tree: a mapping; of its sections, what is none is left as it is.
        source: for messages.

    Raises:
        UsageError: the format is none that this metacli knows, or a key stands there in both spellings.
    """
    given = tree.get("format", 1)
    if type(given) is not int or not 1 <= given <= FORMAT:
        newer = "written by a newer metacli" if type(given) is int and given > FORMAT else "no format of a recipe"
        raise UsageError(f"{source}: format {shorten_value(given)}: {newer}; this one reads 1 to {FORMAT}")
    tree = {key: dict(part) if isinstance(part, dict) else part for key, part in tree.items() if key != "format"}
    notes: list[str] = []
    try:
        for step in STEPS:
            if step.format > given:
                notes += step.change(tree)
    except ValueError as e:
        raise UsageError(f"{source}: {e}") from None
    return tree, notes


def renamed(
    tree: dict[str, Any], old: str, new: str, names: tuple[str, ...], values: dict[str, str] | None = None
) -> list[str]:
    """Rename the key `old` (dotted) to `new` in its section, and its values; a note if it was there.

    Args:
        names: of the tasks or models that had it; a section without a name, as of an override, may be any.
    """
    section, _, key = old.partition(".")
    part, last = tree.get(section), new.partition(".")[2]
    if not isinstance(part, dict) or key not in part or part.get("name", names[0]) not in names:
        return []
    if last in part:
        raise ValueError(f"{old} is the old name of {new}: one of the two")
    value = part.pop(key)
    part[last] = (values or {}).get(value, value) if isinstance(value, str) else value
    return [f"{old}={shorten_key(value)} is now {new}={part[last]}" if values else f"{old} is now {new}"]


def _field_names(tree: dict[str, Any]) -> list[str]:
    """Format 2: the field's words."""
    notes = renamed(tree, "task.quarter_turns", "task.rotated_classes", ("omniglot", "strokes", "folder"))
    notes += renamed(tree, "task.drawings", "task.instances", ("strokes",))
    values = {"neutral": "random", "associative": "content", "successor": "content-then-next"}
    return notes + renamed(tree, "model.start", "model.init", ("ntm", "mann"), values)


STEPS = [Step(2, _field_names)]
