"""Which classes a model was trained on: recorded in its checkpoints, so that no later evaluation can mistake them.

A class is known by its marks, wherever its data lie: for a data set with names of its own, its name; for a folder of
pictures, digests of the pictures' contents.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metacli.checkpoints.archive import RefusedError
from metacli.errors import UsageError
from metacli.tasks.base import SPLITS, Split, Tasks

DIVIDED_OTHERWISE = ("folder",)  # its classes, before checkpoints said which were whose
SMALLEST_ROOM, MOST_PACKED = 1_000_000, 50  # bytes unpacked, and those of each packed one: a bound for hostile files
_HINT = "an accuracy on them would not be that on new classes; train on the split that you evaluate on"
KEPT = 4  # marks of a class, the smallest: a few pictures more leave most of them in place


@dataclass(frozen=True)
class Provenance:
    """The classes of each split, and a digest of all that they are recognised by.

    Attributes:
        classes: by split, then by name, the marks of each class; empty for tasks without classes.
        digest: SHA-256, hexadecimal; changes with any class, mark or pixel.
        before: what the weights had been trained on when the run began from those of another one, and that one from
            others: names of tasks, each with its training classes by name.
    """

    classes: dict[str, dict[str, list[str]]]
    digest: str
    before: tuple[tuple[str, dict[str, list[str]]], ...] = ()

    @classmethod
    def of(cls, tasks: Tasks) -> Provenance:
        """That of tasks; loads their data."""
        full: dict[str, dict[str, list[str]]]
        full = {split: dict(sorted(tasks.class_marks(split).items())) for split in SPLITS}
        kept = {split: {name: marks[:KEPT] for name, marks in classes.items()} for split, classes in full.items()}
        digest = hashlib.sha256(json.dumps(full).encode() + tasks.data_digest())
        return cls(kept, digest.hexdigest())

    def changes(self, now: Provenance) -> list[str]:
        """What differs in `now`, split by split, in words; empty if nothing does."""
        if self.digest == now.digest:
            return []
        lines = []
        for split in SPLITS:
            before, after = self.classes[split].keys(), now.classes[split].keys()
            for word, names in (("gone", before - after), ("new", after - before)):
                if names:
                    some = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
                    lines.append(f"{split}: {len(names)} classes {word}: {some}")
        return lines or ["the classes are the same, their contents are not"]

    def packed(self) -> Tensor:
        """(n,) uint8: compressed JSON."""
        text = json.dumps({"classes": self.classes, "digest": self.digest, "before": self.before})
        return torch.frombuffer(bytearray(zlib.compress(text.encode(), 9)), dtype=torch.uint8)

    @classmethod
    def unpacked(cls, packed: Tensor) -> Provenance:
        """The same back from `packed`.

        Raises:
            RefusedError: it is not what `packed` makes, or far larger than it may be.
        """
        if packed.dtype != torch.uint8 or packed.dim() != 1:
            raise _no_provenance()
        most = SMALLEST_ROOM + MOST_PACKED * len(packed)
        try:
            text = zlib.decompressobj().decompress(packed.numpy().tobytes(), most)
            found: Any = json.loads(text) if len(text) < most else None
        except (zlib.error, ValueError, RecursionError):
            raise _no_provenance() from None
        match found:
            case {"classes": dict(classes), "digest": str(digest)} if classes.keys() <= set(SPLITS):
                before = found.get("before", [])
                if all(map(_are_classes, classes.values())) and isinstance(before, list) and all(map(_is_run, before)):
                    return cls(classes, digest, tuple((task, marks) for task, marks in before))
        raise _no_provenance()


def _are_classes(found: Any) -> bool:
    """Whether this is marks by the name of a class."""
    return isinstance(found, dict) and all(
        isinstance(marks, list) and all(isinstance(mark, str) for mark in marks) for marks in found.values()
    )


def _is_run(found: Any) -> bool:
    """Whether this is the name of a task and the classes that a run was trained on."""
    return isinstance(found, list) and len(found) == 2 and isinstance(found[0], str) and _are_classes(found[1])


def _no_provenance() -> RefusedError:
    return RefusedError("not a checkpoint of metacli: what it says of its classes is nothing that metacli writes")


NO_CLASSES = Provenance({split: {} for split in SPLITS}, "")  # of tasks that are generated


def check_held_out(trained: dict[str, list[str]], tasks: Tasks, split: Split, hint: str = _HINT) -> None:
    """Raise a UsageError where classes of a held-out split are among those that a model was trained on.

    A class is one of those if it has at least half of their marks: one picture that stands in two classes is none.

    Args:
        trained: its training classes by name, each with marks.
        hint: what to do about it.
    """
    owners: dict[str, list[str]] = {}
    for name, marks in trained.items():
        for mark in set(marks):
            owners.setdefault(mark, []).append(name)

    def was_trained(marks: list[str]) -> bool:
        shared = Counter(owner for mark in set(marks) for owner in owners.get(mark, []))
        return any(2 * count >= len(set(trained[owner])) for owner, count in shared.items())

    seen = [] if split == "train" else [name for name, m in tasks.class_marks(split).items() if was_trained(m)]
    if seen:
        raise UsageError(
            f"{len(seen):,} classes of this {split} split were in the model's training, {min(seen)} for one", hint
        )
