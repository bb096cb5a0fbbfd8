"""What a person may ask about a recipe's keys: type, range, default and meaning, read off the typed Configs.

The meaning of a key is the description of its field.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from metacli.config.base import BaseConfig
from metacli.config.recipe import SEEDS
from metacli.config.train import TrainConfig
from metacli.errors import UsageError
from metacli.registry import ENCODERS, MODELS, TASKS, did_you_mean, known, resolve

_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True)
class Key:
    """One key of a Config.

    Attributes:
        name: dotted where it stands within a key, as in `encoder.kind`.
        type: in words; `keys` for one that holds keys of its own.
        range: the bounds of a number, or of a list's length and numbers, in words; empty where there is none.
        default: None for a key that must be given or holds keys.
        required: whether it must be given.
        meaning: what it is for.
    """

    name: str
    type: str
    range: str
    default: Any
    required: bool
    meaning: str


def section_of(name: str) -> tuple[str, type[BaseConfig]]:
    """The section of a recipe that `name` belongs to, and its Config: `train`, a registered task, model or encoder.

    Raises:
        UsageError: it is none of them; suggests a near one.
    """
    if name == "train":
        return "train", TrainConfig
    for section, registry in (("task", TASKS), ("model", MODELS), ("model.encoder", ENCODERS)):
        if known(registry, name):
            return section, resolve(registry, name, section).Config
    parts = ["train", *TASKS, *MODELS, *ENCODERS]
    raise UsageError(f"no keys of {name!r}{did_you_mean(name, parts)}", f"one of {', '.join(parts)}")


def keys_of(
    config: type[BaseConfig], default: BaseConfig | None = None, prefix: str = "", given: BaseConfig | None = None
) -> list[Key]:
    """Every key of a Config in the order of its fields, `name` first; those within a key follow it, dotted.

    Args:
        default: an instance whose values are the defaults, where the Config is that of a key within another.
        prefix: of the names.
        given: an instance whose values say which keys there are within a key that has variants.
    """
    keys = []
    for name, field in sorted(config.model_fields.items(), key=lambda item: item[0] != "name"):
        value = getattr(default, name) if default is not None else field.default
        required, meaning = value is PydanticUndefined, field.description or ""
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseConfig):
            keys += [Key(prefix + name, "keys", "", None, False, meaning)]
            chosen = inner if given is None else type(getattr(given, name))
            keys += keys_of(chosen, value if chosen is inner and not required else None, f"{prefix}{name}.")
            continue
        bounds = _range(field.metadata)
        if inner is str and bounds == "at least 1":
            bounds = "not empty"
        if get_origin(inner) is list:
            (item,) = get_args(inner)
            numbers = _range(get_args(item)[1].metadata) if get_origin(item) is Annotated else ""
            bounds = ", ".join(filter(None, [f"{bounds} of them" if bounds else "", f"each {numbers}"]))
        keys.append(Key(prefix + name, _type(inner), bounds, None if required else value, required, meaning))
    return keys


def seed_key() -> Key:
    """The key `seed`, which stands beside the sections."""
    meaning = (
        "Seed of the initial weights and of every episode. The classes of the splits have their own seed, "
        "`task.split_seed` (omniglot, folder)."
    )
    return Key("seed", "whole number", f"0 to {SEEDS - 1:,}", 0, False, meaning)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary as one level of dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return f"list of {_type(get_args(annotation)[0])}s"
    if get_origin(annotation) is Literal:
        words = [str(value) for value in get_args(annotation)]
        return f"one of {', '.join(words)}" if len(words) > 1 else f"always {words[0]}"
    if NoneType in get_args(annotation):
        return " or ".join("none" if part is NoneType else _type(part) for part in get_args(annotation))
    return _TYPES.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _range(metadata: Any) -> str:
    """Bounds in words, as in `1 to 8,192` or `above 0, at most 10`."""
    bounds = {name: getattr(m, name) for m in metadata for name in _BOUNDS if getattr(m, name, None) is not None}
    low, high = (next((bounds[n] for n in names if n in bounds), None) for names in (_LOW, _HIGH))
    if low is not None and high is not None:
        return f"{low:,} to {high:,}"
    return ", ".join(f"{word} {bounds[name]:,}" for name, word in _BOUNDS.items() if name in bounds)


_LOW, _HIGH = ("ge", "min_length"), ("le", "max_length")
_BOUNDS = {"gt": "above", "ge": "at least", "min_length": "at least", "le": "at most", "max_length": "at most"}
_BOUNDS |= {"lt": "below"}
