"""Checks that held-out classes were not in training, by their names or by their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from metacli.checkpoints.provenance import PixelDigests, TrainingClasses
from metacli.errors import UsageError
from metacli.tasks.base import SPLITS, Split, Tasks
from metacli.tasks.images import fingerprints
from metacli.tasks.images.config import ImageConfig
from metacli.tasks.images.pixel_digests import EXACT, LENGTH
from metacli.tasks.images.poses import Pose, list_poses

UPRIGHT = (Pose(False, 0),)
MAX_OWNERS = 20  # an image of more classes than this, such as a blank one, identifies none of them
_HINT = "accuracy on training classes says little about new classes; train with the same split that you evaluate"
_SPLIT_HINT = "remove one copy of each of these classes, or put the copies into one split"


@dataclass(frozen=True)
class Overlap:
    """The classes and images that two sets of classes have in common.

    Attributes:
        same: classes of the second set that share at least half of their images with a class of the first, with that
            class. At least two images are shared, unless one of the classes has only one.
        similar: likewise with images that are copies with small changes, without the classes in `same`.
        images: digests of further common images, each with a class of the first and of the second set.
    """

    same: dict[str, str]
    similar: dict[str, str]
    images: dict[str, tuple[str, str]]


def find_overlap(first: PixelDigests, second: PixelDigests, poses: Sequence[Pose] = ()) -> Overlap:
    """Compares the images of two sets of classes.

    Args:
        first, second: classes with digests of their images.
        poses: rotated and mirrored copies of the first set that count as copies with small changes. Empty: `similar`
            stays empty.
    """
    owners: dict[str, list[str]] = {}
    for name, digests in first.items():
        for digest in digests:
            owners.setdefault(digest[:EXACT], []).append(name)
    same: dict[str, str] = {}
    images: dict[str, tuple[str, str]] = {}
    for name, digests in second.items():
        shared = [exact for digest in digests if (exact := digest[:EXACT]) in owners]
        counts = Counter(owner for exact in shared if len(owners[exact]) <= MAX_OWNERS for owner in owners[exact])
        copied = [owner for owner, count in counts.items() if count >= _needed(first[owner], digests)]
        if copied:
            same[name] = max(copied, key=lambda owner: counts[owner])
        else:
            images |= {exact: (owners[exact][0], name) for exact in shared}
    others = {name: digests for name, digests in second.items() if name not in same}
    return Overlap(same, _find_similar(first, others, poses), images)


def _needed(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns how many images two classes must share to count as the same."""
    fewest = min(len(first), len(second))
    return max(min(fewest, 2), (fewest + 1) // 2)


def _find_similar(first: PixelDigests, second: PixelDigests, poses: Sequence[Pose]) -> dict[str, str]:
    """Returns `Overlap.similar`."""
    (prints_1, class_1), (prints_2, class_2) = (_list_fingerprints(classes) for classes in (first, second))
    names_1, names_2 = list(first), list(second)
    found = [np.empty((0, 4), np.int64)]
    for pose in poses:
        turned = fingerprints.turn(prints_1, *pose)
        for copies in (turned, ~turned):  # of equal and of inverted brightness
            i, j = fingerprints.find_near_pairs(copies, prints_2)
            found.append(np.stack([class_1[i], class_2[j], i, j], 1))
    pairs = np.concatenate(found)
    counts: dict[tuple[int, int], int] = {}
    for side in (2, 3):  # as many images of either class must have a copy
        distinct = np.unique(pairs[:, [0, 1, side]], axis=0)[:, :2]
        for (c1, c2), count in Counter(map(tuple, distinct.tolist())).items():
            counts[c1, c2] = min(count, counts.get((c1, c2), count))
    similar: dict[str, str] = {}
    for (c1, c2), count in sorted(counts.items(), key=lambda entry: entry[1]):  # the most similar class comes last
        if count >= _needed(first[names_1[c1]], second[names_2[c2]]):
            similar[names_2[c2]] = names_1[c1]
    return similar


def _list_fingerprints(classes: PixelDigests) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fingerprints of all images that are not blank, and the number of the class of each, (n,) each.

    Fingerprints of more than MAX_OWNERS images are left out.
    """
    found = [(d[EXACT:], c) for c, digests in enumerate(classes.values()) for d in digests if len(d) == LENGTH]
    prints, number = fingerprints.to_array([text for text, _ in found]), np.array([c for _, c in found], np.int64)
    _, inverse, counts = np.unique(prints, return_inverse=True, return_counts=True)
    kept = (prints != 0) & (counts[inverse] <= MAX_OWNERS)
    return prints[kept], number[kept]


def check_held_out(
    trained: TrainingClasses, tasks: Tasks, split: Split, poses: Sequence[Pose] = UPRIGHT, hint: str = _HINT
) -> list[str]:
    """Raise a UsageError if a model was trained on classes of a held-out split.

    Classes of one data set with fixed names are compared by name, all others by their images.

    Args:
        trained: the training classes.
        tasks: the tasks with the held-out classes.
        split: the split to check. `train` always passes.
        poses: the poses of the training classes, see `training_poses`.
        hint: the hint of the error.

    Returns:
        Warnings about images that were in training, and about classes that look like training classes.
    """
    if split == "train" or not trained.classes:
        return []
    held_out = tasks.class_digests(split)
    if tasks.has_fixed_class_names and trained.data_identity == tasks.data_identity():
        overlap = Overlap({name: name for name in held_out.keys() & trained.classes.keys()}, {}, {})
    else:
        overlap = find_overlap(trained.classes, held_out, poses)
    if overlap.same:
        raise UsageError(
            f"the model was trained on {len(overlap.same):,} classes of this {split} split, such as "
            f"{min(overlap.same)}",
            hint,
        )
    warnings = []
    if overlap.images:
        digest, (trained_name, name) = min(overlap.images.items())
        warnings.append(
            f"warning: the model was trained on {_count(overlap.images, 'image')} of this {split} split, such as "
            f"{tasks.image_name(name, digest)} (training class {trained_name})"
        )
    return warnings + _warn_similar(overlap, split, "training classes")


def check_splits(tasks: Tasks) -> list[str]:
    """Raise a UsageError if two splits of the same tasks have classes in common, by their images.

    Returns:
        Warnings about images in two splits, and about classes of two splits that look alike. There are none for a data
        set with fixed class names.
    """
    classes = {split: tasks.class_digests(split) for split in SPLITS}
    problems, warnings = [], []
    for first, second in combinations(SPLITS, 2):
        poses = () if tasks.has_fixed_class_names else training_poses(tasks.config) if first == "train" else UPRIGHT
        overlap = find_overlap(classes[first], classes[second], poses)
        if overlap.same:
            name, other = min(overlap.same.items())
            problems.append(
                f"{_count(overlap.same, 'class')} of {second} with the same images as classes of {first}, such as "
                f"{name} and {other}"
            )
        if overlap.images and not tasks.has_fixed_class_names:
            digest, (other, name) = min(overlap.images.items())
            warnings.append(
                f"warning: {_count(overlap.images, 'image')} in both {first} and {second}, such as "
                f"{tasks.image_name(other, digest)} and {tasks.image_name(name, digest)}"
            )
        warnings += _warn_similar(overlap, second, f"classes of {first}")
    if problems:
        raise UsageError(["the splits of these tasks overlap:", *problems], _SPLIT_HINT)
    return warnings


def training_poses(config: Any) -> Sequence[Pose]:
    """Returns the poses in which tasks of a config train each class."""
    return list_poses(config) if isinstance(config, ImageConfig) else UPRIGHT


def _warn_similar(overlap: Overlap, split: str, others: str) -> list[str]:
    if not overlap.similar:
        return []
    name, other = min(overlap.similar.items())
    return [
        f"warning: {_count(overlap.similar, 'class')} of {split} look like edited copies of {others}, such as {name} "
        f"and {other}"
    ]


def _count(things: dict[str, Any], noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{len(things):,} {noun if len(things) == 1 else plural}"
