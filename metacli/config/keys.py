"""Lists the keys of a recipe with type, range, default and meaning, as `metacli recipes` prints them.

All of it is read from the fields of the Config classes. The meaning of a key is the description of its field.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from metacli.config.base import BaseConfig
from metacli.config.recipe import SEED_LIMIT
from metacli.config.train import TrainConfig
from metacli.errors import UsageError
from metacli.registry import ENCODERS, MODELS, TASKS, did_you_mean, is_known, resolve

_LOW, _HIGH = ("ge", "min_length"), ("le", "max_length")
_BOUNDS = {
    "gt": "above",
    "ge": "at least",
    "min_length": "at least",
    "le": "at most",
    "max_length": "at most",
    "lt": "below",
}
_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Key:
    """One key of a Config.

    Attributes:
        name: dotted for a nested key, such as `encoder.kind`.
        type: the type in words; `keys` for a key that holds other keys.
        range: the bounds of a number, or of the length and the numbers of a list, in words. Empty if unbounded.
        default: None for a required key and for a key that holds other keys.
        required: whether a recipe must give the key.
        meaning: the description of the field; empty if it has none.
    """

    name: str
    type: str
    range: str
    default: Any
    required: bool
    meaning: str


SEED_KEY = Key(
    "seed",
    "whole number",
    f"0 to {SEED_LIMIT - 1:,}",
    0,
    False,
    "Seed of the initial weights and of the training tasks. Validation and test tasks do not depend on it; "
    "`eval RUN seed=N` draws others. The split of the classes has its own seed, `task.split_seed` (omniglot, folder).",
)


def find_section(name: str) -> tuple[str, type[BaseConfig]]:
    """Returns the recipe section that `name` belongs to, and its Config.

    Args:
        name: `train`, or the name of a registered task, model or encoder.

    Raises:
        UsageError: the name is unknown. The message suggests a similar one.
    """
    if name == "train":
        return "train", TrainConfig
    for section, registry in (("task", TASKS), ("model", MODELS), ("model.encoder", ENCODERS)):
        if is_known(registry, name):
            return section, resolve(registry, name, section).Config
    names = ["train", *TASKS, *MODELS, *ENCODERS]
    raise UsageError(f"no task, model or encoder {name!r}{did_you_mean(name, names)}", f"known: {', '.join(names)}")


def list_keys(
    config: type[BaseConfig], defaults: BaseConfig | None = None, prefix: str = "", values: BaseConfig | None = None
) -> list[Key]:
    """Returns the keys of a Config in the order of its fields, `name` first. Nested keys follow their parent.

    Args:
        config: the Config class.
        defaults: an instance that holds the defaults, for a Config nested in another one.
        prefix: prepended to the names.
        values: an instance that decides which variant of a nested Config is listed, such as a registered encoder's.
    """
    keys = []
    for name, field in sorted(config.model_fields.items(), key=lambda item: item[0] != "name"):
        default = getattr(defaults, name) if defaults is not None else field.default
        required, meaning = default is PydanticUndefined, field.description or ""
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseConfig):
            keys.append(Key(prefix + name, "keys", "", None, False, meaning))
            nested = annotation if values is None else type(getattr(values, name))
            nested_defaults = default if nested is annotation and not required else None
            keys += list_keys(nested, nested_defaults, f"{prefix}{name}.")
            continue
        bounds = _range(annotation, field.metadata)
        keys.append(Key(prefix + name, _type(annotation), bounds, None if required else default, required, meaning))
    return keys


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested dictionary as one level of dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _type(annotation: Any) -> str:
    """Returns a type in words, such as `whole number or none`."""
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return f"list of {_type(get_args(annotation)[0])}s"
    if get_origin(annotation) is Literal:
        words = [str(value) for value in get_args(annotation)]
        return f"one of {', '.join(words)}" if len(words) > 1 else f"always {words[0]}"
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join("none" if part is NoneType else _type(part) for part in get_args(annotation))
    return _TYPES.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _range(annotation: Any, metadata: list[Any]) -> str:
    """Returns the range of a key in words, such as `1 to 8,192` or `1 to 3 of them, each 2 to 5`."""
    bounds = _bounds(metadata)
    if annotation is str and bounds == "at least 1":
        return "not empty"
    if get_origin(annotation) is not list:
        return bounds
    (item,) = get_args(annotation)
    numbers = _bounds(get_args(item)[1].metadata) if get_origin(item) is Annotated else ""
    return ", ".join(filter(None, [f"{bounds} of them" if bounds else "", f"each {numbers}" if numbers else ""]))


def _bounds(metadata: list[Any]) -> str:
    """Returns the bounds of one number or length in words, such as `1 to 8,192` or `above 0, at most 10`."""
    bounds = {name: getattr(m, name) for m in metadata for name in _BOUNDS if getattr(m, name, None) is not None}
    low, high = (next((bounds[n] for n in names if n in bounds), None) for names in (_LOW, _HIGH))
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    return ", ".join(f"{word} {bounds[name]:,}" for name, word in _BOUNDS.items() if name in bounds)
