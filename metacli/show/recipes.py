"""What `metacli recipes` prints: the list, one recipe with every key explained, or the keys of a section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.config import catalogue, keys, recipe
from metacli.config.catalogue import Entry
from metacli.config.keys import Key
from metacli.errors import UsageError
from metacli.show.console import printable
from metacli.system import terminal

_VALUE = 16  # columns of a value at most; longer ones continue below


class Report(NamedTuple):
    """A result as plain values and as text.

    Attributes:
        plain: for JSON.
        draw: prints it on a console.
    """

    plain: Any
    draw: Callable[[Console], None]


class KeyGroup(NamedTuple):
    """Keys of one section.

    Attributes:
        title: the section; empty for `seed`, which has none.
        keys: in order.
        values: by the names of the keys.
    """

    title: str
    keys: list[Key]
    values: dict[str, Any]


def report_recipes(words: list[str], part: str | None, copy: Path | None) -> Report:
    """Returns the result of `metacli recipes WORDS --keys PART --copy FILE`.

    Args:
        words: the name or path of one recipe, or words to search for: recipes that contain all of them are listed.
        part: `train`, or the name of a task or model whose keys are explained.
        copy: a new file for a copy of the recipe.

    Raises:
        UsageError: there is no such recipe or part, the arguments do not go together, or the file exists.
        MetacliError: the file cannot be written.
    """
    path = find_named_recipe(words)
    if part and (words or copy):
        raise UsageError("--keys cannot be combined with a recipe or --copy", "as in: metacli recipes --keys ntm")
    if copy and not path:
        raise UsageError("--copy needs the name of one recipe", f"as in: metacli recipes copy_ntm --copy {copy}")
    if path and copy:
        catalogue.copy_recipe(path, copy)
        return Report({"copied": str(copy), "from": path.stem}, partial(_print_copied, copy))
    if part:
        section, config = keys.find_section(part)
        listed = keys.list_keys(config)
        plain = {"section": section, "name": part, "keys": [asdict(key) for key in listed]}
        title = section if section == part else f"{section} {part}"
        table = _key_table([KeyGroup(title, listed, {key.name: key.default for key in listed})], "default")
        return Report(plain, lambda console: console.print(table))
    if path:
        return _explain_recipe(path)
    entries = catalogue.list_recipes(words)
    return Report({e.name: e.purpose for e in sorted(entries, key=lambda e: e.name)}, partial(_print_list, entries))


def find_named_recipe(words: list[str]) -> Path | None:
    """Returns the file of the recipe that is named, or None if the words are to be searched for."""
    if len(words) != 1:
        return None
    word = Path(words[0])
    named = word.suffix in (".yaml", ".yml") or word.name != words[0]
    return recipe.find_recipe(words[0]) if named or recipe.is_bundled(words[0]) else None


def _explain_recipe(path: Path) -> Report:
    plan = recipe.load_recipe(str(path))
    header = catalogue.extract_header(path.read_text(encoding="utf-8"))
    parts = [KeyGroup("", [keys.SEED_KEY], {"seed": plan.seed})]
    for section, config in {"task": plan.task, "model": plan.model, "train": plan.train}.items():
        parts.append(KeyGroup(section, keys.list_keys(type(config), values=config), keys.flatten(config.as_dict())))
    rows = [
        asdict(key) | {"name": f"{title}.{key.name}".lstrip("."), "value": values.get(key.name)}
        for title, listed, values in parts
        for key in listed
    ]
    plain = {"name": plan.name, "header": header, "recipe": plan.as_dict(), "keys": rows}
    return Report(plain, partial(_print_explained, header, parts))


def _print_explained(header: list[str], parts: list[KeyGroup], console: Console) -> None:
    for text, lines in groupby(header, key=lambda line: bool(line) and not line.startswith((" ", "-"))):
        for line in [" ".join(lines)] if text else lines:
            console.print(Text(line), highlight=False)
    console.print()
    console.print(_key_table(parts, "value"))


def _print_list(entries: list[Entry], console: Console) -> None:
    for (task, setting), group in groupby(entries, key=lambda e: (e.task, e.setting)):
        members = list(group)
        console.print(Text(f"task {task}: {setting}", style="bold"), soft_wrap=True)
        wide = max(cell_len(e.name) for e in members)
        for e in members:
            console.print(Text(f"  {e.name:<{wide}}  {e.learner}"), soft_wrap=True, highlight=False)


def _print_copied(target: Path, console: Console) -> None:
    console.print(Text(printable(console, f"copied {target}")), soft_wrap=True)
    console.print(Text(printable(console, f"next: metacli train {target}")), soft_wrap=True)


def _key_table(parts: list[KeyGroup], column: str) -> Table:
    """Returns a table with a row for each key: name, value, then meaning, type, range and a default that differs."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column(column, overflow="fold", max_width=_VALUE)
    table.add_column("meaning", overflow="fold")
    for title, listed, values in parts:
        if title:
            table.add_row(Text(f"{title}:", style="bold"))
        for key in listed:
            name = Text(f"  {key.name}" if title else key.name)
            table.add_row(name, _format_key_value(key, values), _describe_key(key, values))
    return table


def _format_key_value(key: Key, values: dict[str, Any]) -> str:
    if key.type == "keys":
        return ""
    value = values[key.name]
    return "required" if value is None and key.required else format_value(value)


def _describe_key(key: Key, values: dict[str, Any]) -> Text:
    facts = ", ".join(filter(None, [key.type, key.range]))
    if not key.required and values.get(key.name) != key.default:
        facts += f"; default {format_value(key.default)}"
    omits_facts = key.type == "keys" or key.name == "name"
    return Text.assemble(key.meaning, "" if omits_facts else (f" [{facts}]", "dim"))


def format_value(value: Any) -> str:
    """Returns a value as it is written in a recipe."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return terminal.escape_text(value) or '""'
    return f"{value:g}" if isinstance(value, float) else str(value)
