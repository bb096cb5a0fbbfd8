"""Recipes: a YAML file and KEY=VALUE overrides become one typed, frozen value."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metacli.config import yaml_file
from metacli.config.base import BaseConfig
from metacli.config.display import shorten_key, shorten_value
from metacli.config.migrations import FORMAT, migrate
from metacli.config.overrides import apply_overrides
from metacli.config.required_plugins import check_required_plugins
from metacli.config.sections import SECTIONS, find_config
from metacli.config.train import TrainConfig
from metacli.errors import UsageError
from metacli.registry import MODELS, TASKS, Registry, did_you_mean, find_origins, is_known, resolve
from metacli.system import operating_system
from metacli.system.package_data import find_data_folder

SEED_LIMIT = 2**31  # a seed is a whole number below this
NOT_A_MAPPING = "a recipe is a mapping with the keys seed, task, model and train"
_LIST_RECIPES = "`metacli recipes` lists the bundled recipes"
_KEYS = ("name", "seed", "plugins", "task", "model", "train")


@dataclass(frozen=True)
class Recipe:
    """A complete, valid recipe.

    Attributes:
        name: the name of the file without its ending.
        seed: the seed of the initial weights and of the training tasks. The split of the classes has its own seed,
            `task.split_seed` (omniglot, folder).
        task: the Config of a registered task distribution p(T).
        model: the Config of a registered model.
        train: how theta is trained.
    """

    name: str
    seed: int
    task: Any
    model: Any
    train: TrainConfig

    def as_dict(self) -> dict[str, Any]:
        """Returns every key with its value, defaults included, as plain values. `recipe_from_dict` reads them back.

        `plugins` maps each name that a plugin registers to that plugin.
        """
        task, model = ({"name": part.name, **part.as_dict()} for part in (self.task, self.model))
        plugins = find_origins((self.task.name, self.model.name, self.model.encoder.kind))
        return {
            "format": FORMAT,
            "name": self.name,
            "seed": self.seed,
            **({"plugins": plugins} if plugins else {}),
            "task": task,
            "model": model,
            "train": self.train.as_dict(),
        }


def load_recipe(source: str | dict[str, Any], overrides: list[str] | None = None) -> Recipe:
    """Returns the recipe in a file, or the bundled recipe of a name, with overrides applied.

    Args:
        source: a path such as `recipes/omniglot_ntm.yaml`, a name such as `omniglot_ntm`, or the content of a recipe
            file as plain values.
        overrides: KEY=VALUE with dotted keys, see `apply_overrides`.

    Raises:
        UsageError: there is no such recipe, it is not YAML, or keys or values are wrong. One message has all errors.
    """
    if isinstance(source, dict):
        name, tree, source = "recipe", source, "recipe"
    else:
        path = find_recipe(source)
        name = path.stem
        try:
            tree = yaml_file.parse(path.read_text(encoding="utf-8"), source)
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"cannot read recipe {source}: {e}") from None
    if not isinstance(tree, dict):
        raise UsageError(f"{source}: {NOT_A_MAPPING}")
    tree = migrate(tree, source)
    return recipe_from_dict({"name": name, **apply_overrides(tree, overrides or []), "format": FORMAT}, source)


def find_recipe(source: str) -> Path:
    """Returns the file that `source` names: a path, or the name of a bundled recipe.

    Raises:
        UsageError: there is none. The message suggests a similar name.
    """
    path = operating_system.expand_home(source)
    if os.path.isfile(path):  # unlike Path.is_file, accepts a name that is too long for a file
        return path
    bundled = {p.stem: p for p in sorted(recipes_folder().glob("*.yaml"))}
    name = path.stem if path.suffix in (".yaml", ".yml") else path.name
    if name in bundled and (path.parent == Path() or path.parent.name == "recipes"):
        return bundled[name]
    if file := recipe_of_run(source):
        hint = f"resume the run: metacli train --resume {source}; or use its recipe: {file}"
        raise UsageError(f"{source} is a run directory, not a recipe", hint)
    if os.path.isdir(path):
        raise UsageError(f"{source} is a folder, not a recipe", _LIST_RECIPES)
    containing = [known for known in bundled if name and name in known]
    if len(containing) > 1 and path.name == source:
        raise UsageError(f"no recipe {source!r}", f"recipes whose name contains it: {', '.join(containing)}")
    raise UsageError(f"no recipe {source!r}{did_you_mean(name, bundled)}", _LIST_RECIPES)


def recipe_of_run(source: str) -> str | None:
    """Returns the recipe file of a run directory, None if `source` is not one."""
    file = os.path.join(operating_system.expand_home(source), "recipe.yaml")
    return file if os.path.isfile(file) else None


def is_bundled(name: str) -> bool:
    """Returns whether a bundled recipe has this name."""
    return name.isidentifier() and os.path.isfile(recipes_folder() / f"{name}.yaml")


def recipes_folder() -> Path:
    """Returns the folder of the bundled recipes: inside the installed package, or at the top of a clone."""
    return find_data_folder("recipes")


def recipe_from_dict(tree: Any, source: str) -> Recipe:
    """Validates the plain form of a recipe, of any format, and returns the recipe.

    Args:
        tree: a mapping with the keys of a recipe. Any other value is a wrong recipe.
        source: where it comes from, for messages.

    Raises:
        UsageError: the recipe is wrong. One message has all errors, each with its dotted key.
    """
    errors: list[str] = []
    if not isinstance(tree, dict):
        raise UsageError(f"{source}: {NOT_A_MAPPING}, not {shorten_value(tree)}")
    tree = migrate(tree, source)
    check_required_plugins(tree, source)
    errors += [f"{shorten_key(key)}: unknown key{_suggest_key(key, tree)}" for key in tree if key not in _KEYS]
    name = tree.get("name", "recipe")
    if not isinstance(name, str) or not operating_system.is_portable_folder_name(name):
        limits = f"no path, no Windows device name, at most {operating_system.MAX_NAME_LENGTH} characters"
        errors.append(f"name: {shorten_value(name)} cannot be the name of a folder ({limits})")
    seed = tree.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < SEED_LIMIT:
        errors.append(f"seed: should be a whole number from 0 to {SEED_LIMIT - 1}, not {shorten_value(seed)}")
    task_class, task = _validate_named_section(tree, "task", TASKS, errors)
    model_class, model = _validate_named_section(tree, "model", MODELS, errors)
    train = _validate_section(TrainConfig, tree.get("train", {}), "train", errors)
    if task is not None and model is not None and train is not None:
        try:
            reason = model_class.check_compatible(model, task_class.spec_of(task))
        except UsageError as e:
            reason = e.message
        errors += [f"model: {reason}"] if reason else []
    if errors:
        raise UsageError([f"{source}: {e}" for e in errors])
    return Recipe(name, seed, task, model, train)


def _suggest_key(key: Any, tree: dict[str, Any]) -> str:
    """Returns ', did you mean X?' for an unknown key without a section, such as `ways` for `task.ways`."""
    for section in SECTIONS:
        config = find_config(section, tree.get(section))
        if config is not None and key in config.model_fields:
            value = tree[key] if isinstance(tree[key], str) else json.dumps(tree[key])
            return f", did you mean {section}.{key}={shorten_key(value)}?"
    return did_you_mean(key, _KEYS)


def _validate_named_section(
    tree: dict[str, Any], section: str, registry: Registry, errors: list[str]
) -> tuple[Any, Any]:
    """Returns the class that the section's `name` stands for and its valid Config. Each is None if it is wrong."""
    values = tree.get(section)
    if not isinstance(values, dict) or "name" not in values:
        errors.append(f"{section}.name: missing; one of {', '.join(registry)}")
        return None, None
    name = values["name"]
    if not isinstance(name, str) or not is_known(registry, name):
        known_names = f"(known: {', '.join(registry)}; --plugin adds your own)"
        suggestion = did_you_mean(name, registry)
        errors.append(f"{section}.name: unknown {section} {shorten_value(name)}{suggestion} {known_names}")
        return None, None
    cls = resolve(registry, name, section)
    return cls, _validate_section(cls.Config, values, section, errors)


def _validate_section(config: type[BaseConfig], values: Any, prefix: str, errors: list[str]) -> Any:
    """Returns the valid Config of a section. If it is wrong, appends to `errors` and returns None."""
    if not isinstance(values, dict):
        errors.append(f"{prefix}: should be a mapping of keys to values, not {shorten_value(values)}")
        return None
    try:
        return config.model_validate(values)
    except ValidationError as e:
        errors += [_format_error(config, values, error, prefix) for error in e.errors(include_url=False)]
        return None


def _format_error(config: type[BaseConfig], values: Any, error: Any, prefix: str) -> str:
    """Returns one validation error as a line that starts with its dotted key."""
    path = ".".join([prefix, *map(shorten_key, error["loc"])])
    if error["type"] == "extra_forbidden":
        parent: Any = config
        for part in error["loc"][:-1]:
            values = values[part]
            parent = parent.model_fields[part].annotation.select_variant(values)
        suggestion = did_you_mean(error["loc"][-1], parent.model_fields)
        return f"{path}: unknown key{suggestion or ' (known: ' + ', '.join(parent.model_fields) + ')'}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    if error["type"] == "value_error":
        return f"{path}: {message}"
    return f"{path}: {message}, not {shorten_value(error['input'])}"
