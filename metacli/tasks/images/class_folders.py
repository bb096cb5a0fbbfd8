"""Lists the classes and pictures of a folder: the one rule of `folder`, `predict` and `list_images`.

docs/data.md describes the rule under "Your own pictures".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from metacli.errors import UsageError, list_some
from metacli.system.caller_warnings import warn_caller
from metacli.system.operating_system import expand_home
from metacli.tasks.images.class_splits import SPELLINGS
from metacli.tasks.images.image_tree import Directory, Tree, name_key, read_tree
from metacli.tasks.images.preprocess.file_kinds import SUPPORTED, read_format_name


class ClassList(NamedTuple):
    """The pictures of each class of a folder.

    Attributes:
        classes: class name to pictures, both sorted by name. There is at least one class.
        notes: a line about each kind of content that was ignored, and about classes within classes.
    """

    classes: dict[str, list[Path]]
    notes: list[str]


def list_classes(root: Path, option: str) -> ClassList:
    """Returns the classes of a folder: every directory below `root`, at any depth, that directly holds pictures.

    Args:
        root: the folder.
        option: the option or key that names the folder, for error messages.

    Raises:
        UsageError: `root` is not a folder, has no class, or has two classes of the same name; a class is reached by two
            links, or holds images only in unsupported formats.
    """
    if not os.path.isdir(root):
        raise UsageError(
            f"{option}: {root} is not a folder", f"give a folder with one directory per class: {option}=NEW_PATH"
        )
    tree = read_tree(root, option)
    below = [d for d in tree.directories if d.name]
    _check_unsupported_classes(root, option, below)
    classes: dict[str, list[Path]] = {}
    paths: dict[str, Path] = {}
    for directory in below:
        if not directory.pictures:
            continue
        if directory.name in classes:
            raise UsageError(
                f"{option}: two directories have names that look the same: {os.fspath(paths[directory.name])!a} and "
                f"{os.fspath(directory.path)!a}",
                "rename one of them",
            )
        classes[directory.name], paths[directory.name] = directory.pictures, directory.path
    for first, second in tree.repeated:
        if any(f"{name}/".startswith(f"{first}/") for name in classes):
            raise UsageError(
                f"{option}: {root / first} and {root / second} are the same directory", "remove one of the links"
            )
    if not classes:
        raise UsageError(
            f"{option}: {root} contains no directory with pictures ({SUPPORTED})",
            "put the pictures of each class into a separate directory below it",
        )
    holders = {name for name in classes if name.casefold() not in SPELLINGS}  # a split is no class
    nested = [name for name in classes if any(name[:i] in holders for i, c in enumerate(name) if c == "/")]
    notes = [f"classes that are directories of other classes: {list_some(nested)}"] if nested else []
    return ClassList(classes, [*notes, *_describe_ignored(root, tree)])


def list_pictures(root: Path) -> tuple[list[Path], list[str]]:
    """Returns all images in a folder, at any depth and in any format, sorted, and a line about each other content."""
    tree = read_tree(root, "--query")
    pictures = [path for d in tree.directories for path in sorted([*d.pictures, *d.unsupported], key=name_key)]
    return pictures, _describe_others(root, tree)


def list_images(folder: str | os.PathLike[str]) -> tuple[list[Path], list[str]]:
    """Lists the pictures of a folder with one directory per class, and the class name of each, for `Learner.fit`.

    Returns:
        The paths, and the labels in the same order, both sorted by class. A warning tells what was ignored.

    Raises:
        MetacliError: it is not a folder, or its classes are ambiguous.
    """
    listing = list_classes(expand_home(folder), "folder")
    for note in listing.notes:
        warn_caller(note)
    pairs = [(path, name) for name, paths in listing.classes.items() for path in paths]
    return [path for path, _ in pairs], [name for _, name in pairs]


def _check_unsupported_classes(root: Path, option: str, directories: list[Directory]) -> None:
    """Raise a UsageError if a directory holds images, but none in a supported format."""
    unusable = [d for d in directories if d.unsupported and not d.pictures]
    if unusable:
        formats = sorted({read_format_name(path) for d in unusable for path in d.unsupported})
        raise UsageError(
            f"{option}: {root}: all images of these directories are in unsupported formats ({', '.join(formats)}): "
            + list_some([d.name for d in unusable]),
            f"convert them to {SUPPORTED}, or remove the directories",
        )


def _describe_ignored(root: Path, tree: Tree) -> list[str]:
    """Returns a line about each kind of content that is in no class."""
    loose = [path.name for d in tree.directories if not d.name for path in d.pictures]
    empty = [d.name for d in tree.directories if d.is_empty]
    unsupported = [path for d in tree.directories for path in d.unsupported]
    formats = ", ".join(sorted({read_format_name(path) for path in unsupported}))
    return [
        *_describe(_relative(root, unsupported), ("image", "images"), f" in unsupported formats ({formats})"),
        *_describe(loose, ("picture", "pictures"), " outside of the class directories"),
        *_describe(empty, ("empty directory", "empty directories")),
        *_describe_others(root, tree),
    ]


def _describe_others(root: Path, tree: Tree) -> list[str]:
    """Returns a line about files that are no images, links that are not followed, and unreadable directories."""
    others = [path for d in tree.directories for path in d.others]
    return [
        *_describe(_relative(root, others), ("file that is not a picture", "files that are not pictures")),
        *_describe(tree.loops, ("link to a directory that holds it", "links to directories that hold them")),
        *_describe(tree.unreadable, ("unreadable directory", "unreadable directories")),
    ]


def _describe(names: list[str], nouns: tuple[str, str], attribute: str = "") -> list[str]:
    """Returns a line about ignored content, or nothing if there is none. `nouns` has the singular and the plural."""
    noun = nouns[len(names) != 1]
    return [f"ignored {len(names):,} {noun}{attribute}: {list_some(names)}"] if names else []


def _relative(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]
