"""Reads a tree of directories: which of its files are images, which entries are ignored, and where links lead."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metacli.errors import UsageError
from metacli.tasks.images.preprocess.file_kinds import FileKind, identify_file

MAX_ENTRIES = 2_000_000  # files and directories in a folder
_IGNORED = {
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "system volume information",
    "thumbs.db",
}


@dataclass(frozen=True)
class Directory:
    """A directory and the files directly in it, each list sorted by name.

    Attributes:
        name: its path from the root, with `/` between the parts and in Unicode's composed form (NFC), so that it is
            the same on every computer. Empty for the root.
        path: where it is.
        pictures: images in a supported format, and damaged files whose suffix says that they are.
        unsupported: images in other formats.
        others: all other files.
        is_empty: whether it holds neither files nor directories.
    """

    name: str
    path: Path
    pictures: list[Path]
    unsupported: list[Path]
    others: list[Path]
    is_empty: bool


@dataclass
class Tree:
    """All visible directories of a folder.

    Attributes:
        directories: sorted by the parts of their names, the root first. Each directory occurs once.
        loops: links that lead back to a directory that holds them; they are not followed.
        repeated: names of the same directory, reached by links: the first name and another one.
        unreadable: the reason for each directory that cannot be read.
    """

    directories: list[Directory] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    repeated: list[tuple[str, str]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class _Visit(NamedTuple):
    """A directory to be read: its name, path, identity and the visits of the directories that hold it."""

    name: str
    path: Path
    identity: object
    parent: _Visit | None


def is_ignored_name(name: str) -> bool:
    """Returns whether a file or directory is hidden, or made by an operating system or a storage device."""
    return name.startswith(".") or name.casefold() in _IGNORED


def read_tree(root: Path, option: str) -> Tree:
    """Reads all directories of a folder. Links are followed, but no directory is read twice.

    Raises:
        UsageError: there are more than MAX_ENTRIES files and directories.
    """
    tree, count = Tree(), 0
    holder: _Visit | None = None
    for path in reversed(Path(os.path.realpath(root)).parents):  # a link to one of them leads back to `root`
        holder = _Visit("", path, _identify(path), holder)
    seen: dict[object, str] = {}
    stack = [_Visit("", root, _identify(root), holder)]
    while stack:
        visit = stack.pop()
        if _is_loop(visit):
            tree.loops.append(visit.name)
            continue
        if visit.identity in seen:
            tree.repeated.append((seen[visit.identity], visit.name))
            continue
        seen[visit.identity] = visit.name
        try:
            with os.scandir(visit.path) as entries:
                visible = [(entry.name, _is_directory(entry)) for entry in entries if not is_ignored_name(entry.name)]
        except OSError as error:
            tree.unreadable.append(f"{visit.path}: {error.strerror or error}")
            continue
        count += len(visible)
        if count > MAX_ENTRIES:
            raise UsageError(
                f"{option}: {root} contains more than {MAX_ENTRIES:,} files and directories", "choose a smaller folder"
            )
        paths = sorted((visit.path / name for name, is_directory in visible if not is_directory), key=name_key)
        kinds = {path: identify_file(path) for path in paths}
        pictures, unsupported, others = ([p for p in paths if kinds[p] is kind] for kind in FileKind)
        tree.directories.append(Directory(visit.name, visit.path, pictures, unsupported, others, not visible))
        for path in sorted((visit.path / name for name, is_dir in visible if is_dir), key=name_key, reverse=True):
            name = unicodedata.normalize("NFC", path.name)
            stack.append(_Visit(f"{visit.name}/{name}" if visit.name else name, path, _identify(path), visit))
    tree.directories.sort(key=lambda directory: directory.name.split("/"))
    return tree


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a directory or a link to one; `DirEntry.is_dir` raises for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def name_key(path: Path) -> tuple[str, str]:
    """Sorts by the name as it is seen. Paths themselves are ordered without regard to case on Windows."""
    return unicodedata.normalize("NFC", path.name), path.name


def _identify(path: Path) -> object:
    """Returns a value that is the same for all paths of a directory."""
    try:
        status = os.stat(path)
    except OSError:
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)


def _is_loop(visit: _Visit) -> bool:
    """Returns whether a directory is one of those that hold it."""
    holder = visit.parent
    while holder is not None and holder.identity != visit.identity:
        holder = holder.parent
    return holder is not None
