"""Divides the classes of a folder into splits, by the names of directories or by a hash of each class name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metacli.errors import UsageError, list_some
from metacli.tasks.base import SPLITS, Split

SPELLINGS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_RESEMBLING = {*SPELLINGS, "dev", "eval", "evaluation", "holdout", "trn", "tst"}
_WORD = re.compile(r"[a-z]+")
_SUFFIX = re.compile(r"(?<=.)(?:data|images?|set|split)$")


class Cuts(NamedTuple):
    """Positions, see `hash_positions`, at which the classes are divided. None for a split with its own directory.

    Attributes:
        test: classes below it belong to the test split.
        val: classes from it on belong to the validation split.
    """

    test: float | None
    val: float | None


def split_of(name: str) -> Split | None:
    """Returns the split that a class name belongs to by its first directory, as in `Train/cat`; None for none."""
    first, _, rest = name.partition("/")
    return SPELLINGS.get(first.casefold()) if rest else None


def check_names(root: str, names: Sequence[str], allow_same_names: bool) -> None:
    """Raise a UsageError if two directories stand for one split, or the splits have class names in common.

    Args:
        root: the folder, for messages.
        names: the names of all classes.
        allow_same_names: whether splits may have class names in common.
    """
    directories = sorted({name.split("/")[0] for name in names if split_of(name)})
    for split in SPLITS:
        if len(same := [d for d in directories if SPELLINGS[d.casefold()] == split]) > 1:
            raise UsageError(
                f"task.root: {root} has {len(same)} directories for the split {split}: {', '.join(same)}",
                "move the classes into one of them",
            )
    if allow_same_names:
        return
    owners: dict[str, list[str]] = {}
    for name in names:
        owners.setdefault(name.partition("/")[2] if split_of(name) else name, []).append(name)
    if shared := [paths for paths in owners.values() if len(paths) > 1]:
        raise UsageError(
            f"task.root: {root}: class names that occur in more than one split: "
            + list_some([" = ".join(paths) for paths in shared]),
            "the classes of the splits must differ. If these are different classes: task.allow_same_names=true",
        )


def find_mixed(names: Sequence[str]) -> list[str]:
    """Returns the split directories that also hold pictures directly, which belong to no class."""
    directories = {name.split("/")[0] for name in names if split_of(name)}
    return [name for name in names if name in directories]


def find_resembling(names: Sequence[str]) -> list[str]:
    """Returns the directories whose names resemble those of splits, but that are not taken as splits, sorted.

    These are directories that directly hold pictures, lie deeper than the splits, or have other names. Within a split,
    only the names of splits count.
    """
    found = set()
    for name in names:
        parts = name.split("/")
        is_divided = split_of(name) is not None
        for i, part in enumerate(parts):
            if part.casefold() in SPELLINGS if is_divided else _resembles_split(part):
                found.add("/".join(parts[: i + 1]))
        if is_divided:
            found.discard(parts[0])
    return sorted(found)


def _resembles_split(name: str) -> bool:
    """Returns whether a name has a word such as `test`, as `test_images`, `Train2` and `valset` do."""
    return any(_SUFFIX.sub("", word) in _RESEMBLING for word in _WORD.findall(name.casefold()))


def hash_positions(names: Sequence[str], seed: int) -> np.ndarray:
    """Returns the position of each class by the hash of its name, (classes,) in [0, 1), equal on every machine."""
    texts = (f"{seed}/{name}".encode(errors="surrogateescape") for name in names)
    return np.array([int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48 for text in texts])


def choose_cuts(positions: np.ndarray, shares: tuple[float | None, float | None], ways: int) -> Cuts:
    """Ranks classes by their positions and chooses the cuts.

    Every split gets at least `ways` classes. With fewer classes, every split gets one as long as there are any. The
    others complete the training split first and the validation split second.

    Args:
        positions: (classes,) of the classes to divide.
        shares: the share of the classes for test and val. None for a split with its own directory.
        ways: the classes of a task.
    """
    count = len(positions)
    wanted = {"train": 1.0, "val": shares[1], "test": shares[0]}
    sizes = {split: 0 for split, share in wanted.items() if share is not None}
    free = count
    for least in (1, ways):
        for split in sizes:
            added = min(max(least - sizes[split], 0), free)
            sizes[split], free = sizes[split] + added, free - added
    for split in [split for split in sizes if split != "train"]:
        added = min(max(round(count * (wanted[split] or 0)) - sizes[split], 0), free)
        sizes[split], free = sizes[split] + added, free - added
    ranked = np.concatenate([[0.0], np.sort(positions), [1.0]])

    def middle(below: int) -> float:
        """Returns the number between two neighbours that has `below` classes below it."""
        return float(ranked[below] + ranked[below + 1]) / 2

    test = sizes.get("test")
    val = sizes.get("val")
    return Cuts(None if test is None else middle(test), None if val is None else middle(count - val))


def divide_classes(names: Sequence[str], positions: np.ndarray, cuts: Cuts) -> dict[Split, np.ndarray]:
    """Returns the numbers of the classes of each split, ascending.

    Args:
        names: (classes,) names; the classes of a directory `val` or `test` belong to that split.
        positions: (classes,) see `hash_positions`.
        cuts: divide all other classes.
    """
    own = np.array([split_of(name) or "" for name in names])
    is_divided = (own == "") | (own == "train")
    is_test = is_divided & (positions < (0.0 if cuts.test is None else cuts.test))
    is_val = is_divided & ~is_test & (positions >= (1.0 if cuts.val is None else cuts.val))
    return {
        "train": np.flatnonzero(is_divided & ~is_test & ~is_val),
        "val": np.flatnonzero((own == "val") | is_val),
        "test": np.flatnonzero((own == "test") | is_test),
    }
