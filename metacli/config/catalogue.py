"""The recipes that ship, as a list to choose from: found by name or by words, copied to start one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metacli.config import yaml_file
from metacli.config.recipe import folder
from metacli.errors import UsageError
from metacli.registry import TASKS, did_you_mean
from metacli.system import files


@dataclass(frozen=True)
class Entry:
    """A recipe that ships.

    Attributes:
        name: what it is called by.
        task: the name of its p(T).
        model: the name of its model.
        purpose: the first line of its header.
    """

    name: str
    task: str
    model: str
    purpose: str

    @property
    def setting(self) -> str:
        """What is to be learnt: the purpose up to its colon."""
        return self.purpose.partition(": ")[0]

    @property
    def learner(self) -> str:
        """Who learns it: the purpose from its colon on, without its full stop."""
        return self.purpose.partition(": ")[2].removesuffix(".")


def entries(words: list[str] | None = None) -> list[Entry]:
    """The recipes that have every one of the words in their name, task, model or purpose, whatever the case.

    Returns:
        In the order of the registered tasks, those of one setting together, short ones first.

    Raises:
        UsageError: there is none; suggests a near name, task or model.
    """
    wanted = [word.lower() for word in words or []]
    found, known = [], []
    for path in sorted(folder().glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        tree = yaml_file.parse(text, path.name)
        entry = Entry(path.stem, tree["task"]["name"], tree["model"]["name"], purpose(text))
        known += [entry.name, entry.task, entry.model]
        whole = f"{entry.name} {entry.task} {entry.model} {entry.purpose}".lower()
        if all(word in whole for word in wanted):
            found.append(entry)
    if not found:
        asked = " ".join(words or [])
        raise UsageError(f"no recipe has {asked!r}{did_you_mean(asked, known)}", "`metacli recipes` lists them all")
    order = list(TASKS)
    return sorted(found, key=lambda e: (order.index(e.task), len(e.setting), e.setting))


def header(text: str) -> list[str]:
    """The lines of a recipe's header comment, without their marks."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def purpose(text: str) -> str:
    """The first line of a recipe's header comment; empty without one."""
    return (header(text) or [""])[0].strip()


def copy(source: Path, target: Path) -> None:
    """Copy a recipe to a file that is not there yet.

    Raises:
        UsageError: something is there.
        MetacliError: it cannot be written.
    """
    try:
        files.write(target, source.read_bytes(), new=True)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "name a new file, as in --copy mine.yaml") from None
