"""Applies KEY=VALUE overrides to the plain form of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from metacli.config import yaml_file
from metacli.config.base import BaseConfig
from metacli.config.sections import find_config
from metacli.errors import UsageError

_EXAMPLE = "for example: train.lr=3e-4 task.ways=20"


def apply_overrides(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Returns a copy of `tree` with each KEY=VALUE set, in order.

    Args:
        tree: a recipe as plain values.
        overrides: KEY=VALUE with dotted keys. The value of a text key is taken literally, without surrounding
            quotes. Other values follow the same YAML rules as a recipe file.

    Raises:
        UsageError: an override does not have the form KEY=VALUE, or its value is not YAML.
    """
    items = [_split(item) for item in overrides]
    # The type of a key depends on task.name, model.name and encoder.kind, which the same overrides may change.
    named = _set_values(tree, items)
    return _set_values(tree, [(path, _parse_value(named, path, text)) for path, text in items])


def held_out_seed(overrides: list[str]) -> int:
    """Returns the seed of the val and test tasks of an evaluation: that of an override `seed=N`, otherwise 0.

    It is not the recipe's seed, so that runs with different seeds are scored on the same tasks.
    """
    seed: int = apply_overrides({"seed": 0}, [item for item in overrides if item.startswith("seed=")])["seed"]
    return seed


def _split(item: str) -> tuple[list[str], str]:
    key, equals, text = item.partition("=")
    if not equals or not key.strip("."):
        raise UsageError(f"{item!r} is not KEY=VALUE", _EXAMPLE)
    return key.split("."), text


def _parse_value(tree: dict[str, Any], path: list[str], text: str) -> Any:
    if not _holds_text(tree, path):
        return yaml_file.parse(text, f"{'.'.join(path)}={text}")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        try:
            value = yaml_file.parse(text, text)
        except UsageError:
            return text
        return value if isinstance(value, str) else text
    return text


def _holds_text(tree: dict[str, Any], path: list[str]) -> bool:
    """Returns whether a key of a recipe holds text. False for an unknown key."""
    if path == ["name"]:
        return True
    values: Any = tree.get(path[0])
    config = find_config(path[0], values)
    for part in path[1:]:
        if config is None or part not in config.model_fields:
            return False
        annotation = config.model_fields[part].annotation
        values = values.get(part) if isinstance(values, dict) else None
        config = _find_variant(annotation, values)
    return len(path) > 1 and config is None and _is_text(annotation)


def _find_variant(annotation: Any, values: Any) -> type[BaseConfig] | None:
    """Returns the Config of a key that holds other keys, None for any other key."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseConfig)):
        return None
    try:
        return annotation.select_variant(values)
    except ValueError:
        return annotation


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_text(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return all(_is_text(part) for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return all(isinstance(value, str) for value in get_args(annotation))
    return annotation is str


def _set_values(tree: dict[str, Any], items: Sequence[tuple[list[str], Any]]) -> dict[str, Any]:
    """Returns a copy of nested dictionaries with values set. `tree` itself is not changed."""
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for path, value in items:
        node = tree
        for part in path[:-1]:
            child = node.get(part)
            node[part] = dict(child) if isinstance(child, dict) else {}
            node = node[part]
        node[path[-1]] = value
    return tree
