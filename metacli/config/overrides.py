"""Applies KEY=VALUE overrides to the plain form of a recipe."""

from __future__ import annotations

from typing import Any

from metacli.config import yaml_file
from metacli.errors import UsageError


def apply_overrides(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Returns a copy of `tree` with each KEY=VALUE set, in order.

    Args:
        tree: a recipe as plain values.
        overrides: KEY=VALUE with dotted keys. Values follow the same YAML rules as a recipe file.

    Raises:
        UsageError: an override does not have the form KEY=VALUE, or its value is not YAML.
    """
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key.strip("."):
            raise UsageError(f"{item!r} is not KEY=VALUE", "for example: train.lr=3e-4 task.ways=20")
        _set_value(tree, key.split("."), yaml_file.parse(text, item))
    return tree


def _set_value(tree: dict[str, Any], path: list[str], value: Any) -> None:
    """Sets a value in nested dictionaries, in place. Dictionaries on the path are copied first."""
    node = tree
    for part in path[:-1]:
        child = node.get(part)
        node[part] = dict(child) if isinstance(child, dict) else {}
        node = node[part]
    node[path[-1]] = value
