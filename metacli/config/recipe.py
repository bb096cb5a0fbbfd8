"""Recipes: a YAML file and KEY=VALUE overrides become one typed, frozen value, or a list of all that is wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metacli.config import yaml_file
from metacli.config.base import BaseConfig
from metacli.config.display import shown, shown_key
from metacli.config.migrations import FORMAT, migrated
from metacli.config.required_plugins import check_plugins
from metacli.config.train import TrainConfig
from metacli.errors import UsageError
from metacli.registry import MODELS, TASKS, Registry, did_you_mean, known, origins, resolve
from metacli.system import operating_system, terminal

SEEDS = 2**31  # a seed is a whole number below


@dataclass(frozen=True)
class Recipe:
    """A complete, valid recipe.

    Attributes:
        name: the file's name without its ending.
        seed: fixes the weights' start and every episode. The classes of the splits have a seed of their own, the
            task's `split_seed` (Omniglot, folders).
        task: the Config of a registered p(T).
        model: the Config of a registered model.
        train: how theta is trained.
    """

    name: str
    seed: int
    task: Any
    model: Any
    train: TrainConfig

    def as_dict(self) -> dict[str, Any]:
        """Every key with its value, defaults included; `from_dict` reads it back.

        Where a name is not metacli's own, `plugins` tells the plugin that it comes from.
        """
        task, model = ({"name": part.name, **part.plain()} for part in (self.task, self.model))
        own = origins((self.task.name, self.model.name, self.model.encoder.kind))
        return {
            "format": FORMAT,
            "name": self.name,
            "seed": self.seed,
            **({"plugins": own} if own else {}),
            "task": task,
            "model": model,
            "train": self.train.plain(),
        }


def load(source: str | dict[str, Any], overrides: list[str] | None = None) -> Recipe:
    """The recipe at a path, or of a bare name among those that ship with metacli, with overrides applied.

    Args:
        source: `recipes/omniglot_ntm.yaml` or `omniglot_ntm`; or what such a file holds, as plain values.
        overrides: KEY=VALUE, dotted keys, values by the same YAML rules as the file.

    Raises:
        UsageError: no such recipe, not YAML, or wrong keys or values, all of them in one message.
    """
    if isinstance(source, dict):
        name, tree, source = "recipe", source, "recipe"
    else:
        path = find(source)
        name = path.stem
        try:
            tree = yaml_file.parse(path.read_text(encoding="utf-8"), source)
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"cannot read recipe {source}: {e}") from None
    if not isinstance(tree, dict):
        raise UsageError(f"{source}: {NO_MAPPING}")
    tree, notes = migrated(tree, source)
    tell(notes)
    return from_dict({"name": name, **override(tree, overrides or []), "format": FORMAT}, source)


def find(source: str) -> Path:
    """The file that `source` names: a path, or a bare name among the recipes that ship with metacli.

    Raises:
        UsageError: there is none; suggests a near name.
    """
    path = Path(source)
    if os.path.isfile(path):  # unlike Path.is_file, for a name too long to be one
        return path
    known = {p.stem: p for p in sorted(folder().glob("*.yaml"))}
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if name in known and (path.parent == Path() or path.parent.name == "recipes"):
        return known[name]
    if os.path.isdir(path):
        raise UsageError(f"{source} is a folder, not a recipe")
    raise UsageError(f"no recipe {source!r}{did_you_mean(name, known)}", "`metacli recipes` lists those that ship")


def folder() -> Path:
    """The folder of the recipes that ship: inside the wheel, or at the top of a clone."""
    packaged = Path(str(resources.files("metacli"))) / "recipes"
    return packaged if packaged.is_dir() else packaged.parent.parent / "recipes"


def override(tree: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """A copy of `tree` with each KEY=VALUE set, in order; an older spelling is told on stderr and set as the new one.

    Raises:
        UsageError: one is not of the form KEY=VALUE.
    """
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in tree.items()}
    for item in overrides:
        key, equals, value = item.partition("=")
        if not equals or not key.strip("."):
            raise UsageError(f"{item!r} is not KEY=VALUE", "for example: train.lr=3e-4 task.ways=20")
        path, given = key.split("."), yaml_file.parse(value, item)
        branch, notes = migrated(_set({}, path, given), item)
        tell(notes)
        if notes:  # a single branch: follow it
            path, given = [], branch
            while len(path) <= key.count("."):
                (part,) = given
                path, given = [*path, part], given[part]
        _set(tree, path, given)
    return tree


def tell(notes: list[str]) -> None:
    """Notes on stderr."""
    for note in notes:
        terminal.say(f"note: {note}")


def _set(tree: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """Set a value in nested dictionaries, in place but for those on the way, which are copied."""
    node = tree
    for part in path[:-1]:
        child = node.get(part)
        node[part] = dict(child) if isinstance(child, dict) else {}
        node = node[part]
    node[path[-1]] = value
    return tree


def from_dict(tree: Any, source: str) -> Recipe:
    """A recipe from its plain form, of any format, validated as a whole; any other value is a wrong recipe.

    Raises:
        UsageError: every error at once, each with its dotted key.
    """
    errors: list[str] = []
    if not isinstance(tree, dict):
        raise UsageError(f"{source}: {NO_MAPPING}, not {shown(tree)}")
    tree = migrated(tree, source)[0]
    check_plugins(tree, source)
    errors += [f"{shown_key(key)}: unknown key{did_you_mean(key, _KEYS)}" for key in tree if key not in _KEYS]
    name = tree.get("name", "recipe")
    if not isinstance(name, str) or not operating_system.names_folder(name):
        most = f"no path, no device of Windows, at most {operating_system.LONGEST_NAME} characters"
        errors.append(f"name: {shown(name)} names no folder: {most}")
    seed = tree.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < SEEDS:
        errors.append(f"seed: a whole number from 0 to {SEEDS - 1}, not {shown(seed)}")
    task_cls, task = _named(tree, "task", TASKS, errors)
    model_cls, model = _named(tree, "model", MODELS, errors)
    train = _section(TrainConfig, tree.get("train", {}), "train", errors)
    if task is not None and model is not None and train is not None:
        try:
            reason = model_cls.check_compatible(model, task_cls.spec_of(task))
        except UsageError as e:
            reason = e.message
        errors += [f"model: {reason}"] if reason else []
    if errors:
        raise UsageError([f"{source}: {e}" for e in errors])
    return Recipe(name, seed, task, model, train)


NO_MAPPING = "a recipe is a mapping with the keys seed, task, model and train"
_KEYS = ("name", "seed", "plugins", "task", "model", "train")


def _named(tree: dict[str, Any], section: str, registry: Registry, errors: list[str]) -> tuple[Any, Any]:
    part = tree.get(section)
    if not isinstance(part, dict) or "name" not in part:
        errors.append(f"{section}.name: missing; one of {', '.join(registry)}")
        return None, None
    if not isinstance(part["name"], str) or not known(registry, part["name"]):
        near = did_you_mean(part["name"], registry)
        known_ones = f"(known: {', '.join(registry)}; yours: --plugin)"
        errors.append(f"{section}.name: unknown {section} {shown(part['name'])}{near} {known_ones}")
        return None, None
    cls = resolve(registry, part["name"], section)
    return cls, _section(cls.Config, part, section, errors)


def _section(config: type[BaseConfig], values: Any, prefix: str, errors: list[str]) -> Any:
    if not isinstance(values, dict):
        errors.append(f"{prefix}: a mapping of keys to values, not {shown(values)}")
        return None
    try:
        return config.model_validate(values)
    except ValidationError as e:
        errors += [_explain(config, values, problem, prefix) for problem in e.errors(include_url=False)]
        return None


def _explain(config: type[BaseConfig], values: Any, problem: Any, prefix: str) -> str:
    path = ".".join([prefix, *map(shown_key, problem["loc"])])
    if problem["type"] == "extra_forbidden":
        fields: Any = config
        for part in problem["loc"][:-1]:
            values = values[part]
            fields = fields.model_fields[part].annotation.variant(values)
        near = did_you_mean(problem["loc"][-1], fields.model_fields)
        return f"{path}: unknown key{near or ' (known: ' + ', '.join(fields.model_fields) + ')'}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if problem["type"] == "value_error":
        return f"{path}: {message}"
    return f"{path}: {message}, not {shown(problem['input'])}"
