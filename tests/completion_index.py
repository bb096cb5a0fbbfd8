"""The index of tab completion, built from the code. `python -m tests.completion_index` writes it into the package."""

from __future__ import annotations

import json
import re
from typing import Any

from metacli.checkpoints.bundled import bundled_names
from metacli.cli.completion_index import FILE
from metacli.cli.main import build_command
from metacli.config import catalogue, keys
from metacli.registry import MODELS, TASKS

_WORD = re.compile(r"[\w.+-]+")  # a value that no shell changes


def build_index() -> dict[str, Any]:
    """Returns what the file must hold, see `load_index`."""

    recipes = {e.name: {"task": e.task, "model": e.model, "purpose": e.purpose} for e in catalogue.list_recipes()}
    listed = {}
    for name in ("train", *TASKS, *MODELS):
        section, config = keys.find_section(name)
        title = section if section == name else f"{section} {name}"
        listed[title] = {key.name: _entry(key) for key in keys.list_keys(config) if key.type != "keys"}
        if section != name:
            names = list(TASKS if section == "task" else MODELS)
            listed[title]["name"]["values"] = names
    command = build_command()
    return {
        "verbs": {"": _describe_verb(command)} | {name: _describe_verb(c) for name, c in command.commands.items()},
        "recipes": dict(sorted(recipes.items())),
        "bundled": bundled_names(),
        "seed": _entry(keys.SEED_KEY),
        "keys": listed,
    }


def _describe_verb(command: Any) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            content = {
                "name": parameter.name,
                "help": parameter.help,
                "takes_value": not parameter.is_flag,
                "choices": list(parameter.type_descriptor.choices or ()) if not parameter.is_flag else [],
            }
            options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), content)
    arguments = [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]
    return {"help": (command.help or "").partition("\n")[0], "options": options, "arguments": arguments}


def _entry(key: Any) -> dict[str, Any]:
    if key.type.startswith("one of "):
        values = key.type.removeprefix("one of ").split(", ")
    elif key.type == "true or false":
        values = ["true", "false"]
    else:
        values = [f"{key.default:g}" if isinstance(key.default, float) else str(key.default)]
    meaning = key.meaning.partition(". ")[0].removesuffix(".")
    return {"values": [v for v in values if _WORD.fullmatch(v) and v != "None"], "meaning": meaning}


def write_index() -> None:
    """Writes the file."""
    FILE.write_text(json.dumps(build_index(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_index()
