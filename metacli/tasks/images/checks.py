"""Checks that a split has enough classes and images for its tasks, and that the images fit into memory."""

from __future__ import annotations

import math

import numpy as np

from metacli.errors import list_some
from metacli.system import memory
from metacli.tasks.images.config import ImageConfig, ImageSet


def find_problems(split: str, pool: np.ndarray, config: ImageConfig, image_set: ImageSet) -> list[str]:
    """Returns the problems of a split, as messages.

    Args:
        split: the name of the split for messages.
        pool: (P,) its class ids, see `Images`.
        config: the config of the tasks.
        image_set: the images of all splits.
    """
    names = image_set.names
    problems = []
    if config.ways > len(pool):
        problems.append(f"{split}: {config.ways} ways, but the split has {len(pool)} class{'es' * (len(pool) != 1)}")
    class_numbers = np.unique(pool % len(names))  # a rotated or mirrored class has the images of its original
    counts, needed = image_set.counts[class_numbers], config.shots + config.queries
    too_small = class_numbers[counts < needed]
    if config.protocol == "k-shot" and len(too_small):
        listed = list_some([f"{names[i]} ({image_set.counts[i]})" for i in too_small])
        cause = f"{len(too_small)} classes have fewer images: {listed}"
        if len(too_small) == 1:
            cause = f"class {names[too_small[0]]} has {counts.min()} images"
        problems.append(f"{split}: {config.shots} shots + {config.queries} queries, but {cause}")
    sizes = np.sort(image_set.counts[pool % len(names)])
    fewest_images, fewest_with_ways = int(sizes[: config.ways].sum()), int(sizes[: config.fewest_ways].sum())
    if config.protocol == "k-shot" and config.fewest_ways and not problems and fewest_with_ways < config.ways * needed:
        shortage = f"so few classes may have only {fewest_with_ways} images in total"
        task_size = config.ways * needed
        problems.append(f"{split}: fewest_ways {config.fewest_ways}, but {shortage}, and a task has {task_size}")
    if config.protocol == "stream" and not problems and config.length > fewest_images:
        shortage = f"{config.ways} classes may have only {fewest_images} images in total"
        problems.append(f"{split}: length {config.length}, but {shortage}")
    return problems


def check_memory(count: int, shape: tuple[int, ...]) -> None:
    """Raises a MetacliError if `count` images of a shape do not fit into memory."""
    description = f"{count:,} images of {' x '.join(map(str, shape))} bytes"
    memory.check_fits(count * math.prod(shape), description, "lower task.size", memory.available_bytes())
