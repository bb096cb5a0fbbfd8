"""Checks of images: enough for the tasks of a split, small enough for the memory, light ink on dark paper."""

from __future__ import annotations

import math

import numpy as np

from metacli.errors import list_some
from metacli.system import memory
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.preprocess.ink import has_light_paper

POLARITY_SAMPLE = 200  # images that are examined for their polarity


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


def describe_wrong_polarity(images: np.ndarray, invert: bool) -> str:
    """Returns a note if most grey images show dark ink on light paper, unlike Omniglot's, otherwise ''.

    Args:
        images: (images, channels, size, size) uint8, after the inversion.
        invert: whether they were inverted.
    """
    if images.shape[1] != 1:
        return ""
    sample = images[:: max(1, len(images) // POLARITY_SAMPLE), 0]
    if np.mean([has_light_paper(image) for image in sample]) <= 0.5:
        return ""
    state = "after task.invert=true, " if invert else ""
    remedy = f"task.invert={str(not invert).lower()}"
    return f"{state}most images show dark ink on light paper, unlike those of the bundled models: set {remedy}"


def check_memory(count: int, shape: tuple[int, ...]) -> None:
    """Raises a MetacliError if `count` images of a shape do not fit into memory."""
    description = f"{count:,} images of {' x '.join(map(str, shape))} bytes"
    memory.check_fits(count * math.prod(shape), description, "lower task.size", memory.available_bytes())
