"""Whether a split has enough classes and images for its tasks, and the machine enough memory for them."""

from __future__ import annotations

import math

import numpy as np

from metacli.system import memory
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.poses import poses

LISTED = 10  # classes with too few images that an error names


def faults(split: str, pool: np.ndarray, c: ImageConfig, every: ImageSet) -> list[str]:
    """What a split lacks, in words; of classes with too few images at most LISTED are named.

    Args:
        split: what an error calls it.
        pool: (P,) its class ids, see `Images`.
        c: the keys of the tasks.
        every: the images of all splits.
    """
    names = every.names
    found = []
    if c.ways > len(pool):
        found.append(f"{split}: {c.ways} ways, but the split has {len(pool)} class{'es' * (len(pool) != 1)}")
    real = np.unique(pool % len(names))  # a turned class has the images of the one that it was turned from
    counts, need = every.counts[real], c.shots + c.queries
    few = real[counts < need]
    if c.protocol == "k-shot" and len(few):
        said = [f"{names[i]} ({every.counts[i]})" for i in few[:LISTED]]
        rest = f" and {len(few) - LISTED} more" if len(few) > LISTED else ""
        who = f"{len(few)} classes have fewer images: {', '.join(said)}{rest}"
        if len(few) == 1:
            who = f"class {names[few[0]]} has {counts.min()} images"
        found.append(f"{split}: {c.shots} shots + {c.queries} queries, but {who}")
    several = np.sort(every.counts[pool % len(names)])
    room, fewest = int(several[: c.ways].sum()), int(several[: c.fewest_ways].sum())
    if c.protocol == "k-shot" and c.fewest_ways and not found and fewest < c.ways * need:
        few_have = f"so few classes may have only {fewest} images between them"
        found.append(f"{split}: fewest_ways {c.fewest_ways}, but {few_have}, and a task has {c.ways * need}")
    if c.protocol == "stream" and not found and c.length > room:
        found.append(f"{split}: length {c.length}, but {c.ways} classes may have only {room} images between them")
    return found


def check_room(count: int, shape: tuple[int, ...], c: ImageConfig) -> None:
    """Raise a MetacliError where so many images of a shape, turned ones beside them, cannot be held in memory."""
    many = len(poses(c))
    copies = many if many > 1 else 0
    sizes = f"{count:,} images of {' x '.join(map(str, shape))} bytes"
    what = f"{sizes}{f', {copies} turned or mirrored copies included,' if copies else ''}"
    hint = "lower task.size" + ", or leave task.rotated_classes and task.mirrored_classes out" * (copies > 0)
    memory.refuse((1 + copies) * count * math.prod(shape), what, hint, memory.available())
