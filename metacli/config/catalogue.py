"""The bundled recipes: search them by words, read their headers, copy one as a starting point."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from metacli.config import yaml_file
from metacli.config.recipe import recipes_folder
from metacli.errors import UsageError
from metacli.registry import TASKS, did_you_mean
from metacli.system import files, terminal


@dataclass(frozen=True)
class Entry:
    """A bundled recipe.

    Attributes:
        name: the name of the recipe.
        task: the registered name of its task distribution p(T).
        model: the registered name of its model.
        purpose: the first line of its header.
    """

    name: str
    task: str
    model: str
    purpose: str

    @property
    def setting(self) -> str:
        """What is learned: the purpose up to its colon."""
        return self.purpose.partition(": ")[0]

    @property
    def learner(self) -> str:
        """Which model learns it, and how: the purpose after its colon, without the full stop."""
        return self.purpose.partition(": ")[2].removesuffix(".")


def list_recipes(words: list[str] | None = None) -> list[Entry]:
    """Returns the recipes that have every word in their name, task, model or purpose. Case is ignored.

    Returns:
        The recipes in the order of the registered tasks, grouped by setting, short settings first.

    Raises:
        UsageError: no recipe matches. The message suggests a similar name, task or model.
    """
    search_words = [word.lower() for word in words or []]
    entries, known_words = [], []
    for path in sorted(recipes_folder().glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        tree = yaml_file.parse(text, path.name)
        entry = Entry(path.stem, tree["task"]["name"], tree["model"]["name"], extract_purpose(text))
        known_words += [entry.name, entry.task, entry.model]
        searched = f"{entry.name} {entry.task} {entry.model} {entry.purpose}".lower()
        if all(word in searched for word in search_words):
            entries.append(entry)
    if not entries:
        query = " ".join(words or [])
        suggestion = did_you_mean(query, known_words)
        raise UsageError(f"no recipe matches {query!r}{suggestion}", "`metacli recipes` lists all recipes")
    order = list(TASKS)
    return sorted(entries, key=lambda e: (order.index(e.task), len(e.setting), e.setting))


def extract_header(text: str) -> list[str]:
    """Returns the lines of a recipe's header comment, without the comment marks."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def extract_purpose(text: str) -> str:
    """Returns the first line of a recipe's header comment. Empty if there is no header."""
    return (extract_header(text) or [""])[0].strip()


def copy_recipe(source: Path, target: Path) -> None:
    """Copies a recipe to a new file. A neutral header replaces the description of the original and its results.

    Raises:
        UsageError: the target exists.
        MetacliError: the target cannot be written.
    """
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    body = "".join(lines[len(extract_header("".join(lines))) :])
    name, command = source.stem, f"metacli train {shlex.quote(str(target))}"
    header = [f"A copy of {name}. Describe your changes here.", "", f"  {command}"]
    commented = "".join(f"# {terminal.escape_text(line)}".rstrip() + "\n" for line in header)
    try:
        files.write(target, (commented + body).encode(), new=True)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "name a new file, as in --copy mine.yaml") from None
