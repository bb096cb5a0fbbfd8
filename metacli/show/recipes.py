"""What `metacli recipes` answers: the list, one recipe with every key explained, or the keys of a part of a recipe."""

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
from metacli.show.console import legible
from metacli.system import terminal

_VALUE = 16  # columns of a value at most; longer ones go on below


class Answer(NamedTuple):
    """What there is to say, in both forms.

    Attributes:
        plain: for JSON.
        draw: draws it.
    """

    plain: Any
    draw: Callable[[Console], None]


class Part(NamedTuple):
    """Keys that stand together.

    Attributes:
        title: their section; empty for `seed`, which stands in none.
        keys: in order.
        values: by the names of the keys.
    """

    title: str
    keys: list[Key]
    values: dict[str, Any]


def answer(words: list[str], part: str | None, copy: Path | None) -> Answer:
    """What `metacli recipes WORDS --keys PART --copy FILE` asks for.

    Args:
        words: one that is the name or path of a recipe asks for that one, others for those that have all of them.

    Raises:
        UsageError: what is asked for does not exist or does not go together, or the file exists.
        MetacliError: the file cannot be written.
    """
    one = single(words)
    if part and (words or copy):
        raise UsageError("--keys explains a part of recipes by itself", "leave out the recipe and --copy")
    if copy and not one:
        raise UsageError("--copy needs the name of one recipe", f"as in: metacli recipes copy_ntm --copy {copy}")
    if one and copy:
        catalogue.copy_recipe(one, copy)
        return Answer({"copied": str(copy), "from": one.stem}, partial(_print_copied, copy))
    if part:
        section, config = keys.find_section(part)
        listed = keys.list_keys(config)
        plain = {"section": section, "name": part, "keys": [asdict(key) for key in listed]}
        title = section if section == part else f"{section} {part}"
        table = _table([Part(title, listed, {key.name: key.default for key in listed})], "default")
        return Answer(plain, lambda console: console.print(table))
    if one:
        return _explained(one)
    found = catalogue.list_recipes(words)
    return Answer({e.name: e.purpose for e in sorted(found, key=lambda e: e.name)}, partial(_print_list, found))


def single(words: list[str]) -> Path | None:
    """The file of the one recipe that is named, None where the words are to be searched for."""
    if len(words) != 1:
        return None
    word = Path(words[0])
    named = word.suffix in (".yaml", ".yml") or word.name != words[0]
    return recipe.find_recipe(words[0]) if named or (recipe.recipes_folder() / f"{word}.yaml").is_file() else None


def _explained(path: Path) -> Answer:
    plan = recipe.load_recipe(str(path))
    header = catalogue.extract_header(path.read_text(encoding="utf-8"))
    parts = [Part("", [keys.SEED_KEY], {"seed": plan.seed})]
    for section, config in {"task": plan.task, "model": plan.model, "train": plan.train}.items():
        parts.append(Part(section, keys.list_keys(type(config), values=config), keys.flatten(config.as_dict())))
    rows = [
        asdict(key) | {"name": f"{title}.{key.name}".lstrip("."), "value": values.get(key.name)}
        for title, listed, values in parts
        for key in listed
    ]
    plain = {"name": plan.name, "header": header, "recipe": plan.as_dict(), "keys": rows}
    return Answer(plain, partial(_print_explained, header, parts))


def _print_explained(header: list[str], parts: list[Part], console: Console) -> None:
    for text, lines in groupby(header, key=lambda line: bool(line) and not line.startswith((" ", "-"))):
        for line in [" ".join(lines)] if text else lines:
            console.print(Text(line), highlight=False)
    console.print()
    console.print(_table(parts, "value"))


def _print_list(found: list[Entry], console: Console) -> None:
    for (task, setting), group in groupby(found, key=lambda e: (e.task, e.setting)):
        members = list(group)
        console.print(Text(f"task {task}: {setting}", style="bold"), soft_wrap=True)
        wide = max(cell_len(e.name) for e in members)
        for e in members:
            console.print(Text(f"  {e.name:<{wide}}  {e.learner}"), soft_wrap=True, highlight=False)


def _print_copied(target: Path, console: Console) -> None:
    console.print(Text(legible(console, f"copied {target}")), soft_wrap=True)
    console.print(Text(legible(console, f"next: metacli train {target}")), soft_wrap=True)


def _table(parts: list[Part], column: str) -> Table:
    """A line or more for each key: name, value, then meaning, type, range and, where the value is another, default."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("key", no_wrap=True)
    table.add_column(column, overflow="fold", max_width=_VALUE)
    table.add_column("meaning", overflow="fold")
    for title, listed, values in parts:
        if title:
            table.add_row(Text(f"{title}:", style="bold"))
        for key in listed:
            table.add_row(Text(f"  {key.name}" if title else key.name), _value(key, values), _about(key, values))
    return table


def _value(key: Key, values: dict[str, Any]) -> str:
    if key.type == "keys":
        return ""
    value = values[key.name]
    return "required" if value is None and key.required else word(value)


def _about(key: Key, values: dict[str, Any]) -> Text:
    facts = ", ".join(filter(None, [key.type, key.range]))
    if not key.required and values.get(key.name) != key.default:
        facts += f"; default {word(key.default)}"
    known = key.type == "keys" or key.name == "name"
    return Text.assemble(key.meaning, "" if known else (f" [{facts}]", "dim"))


def word(value: Any) -> str:
    """A value as a recipe has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, str):
        return terminal.escape_text(value) or '""'
    return f"{value:g}" if isinstance(value, float) else str(value)
