"""What a person gives a learner: pictures or vectors, and names for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metacli.classifier.ensemble import Trained
from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.pictures import named, pictures

PLAIN = {str, int, float, bool, np.str_, np.int64, np.int32, np.float64, np.bool_}


class UnteachableError(ValueError):
    """What a model cannot be taught.

    Args:
        message: what is wrong.
        hint: what to try instead.
    """

    def __init__(self, message: str, hint: str):
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


def paired(images: Any, labels: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Images and their labels, as many of the one as of the other; raises a TypeError or ValueError where not."""
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise TypeError(f"images are a list or an array of pictures, not {type(images).__name__}")
    given, names = list(images), list(labels)
    if len(given) != len(names):
        raise ValueError(f"{len(given)} images, but {len(names)} labels")
    return given, names


def seen(model: Trained, images: Any, what: str) -> Tensor:
    """Pictures or vectors as the model reads them, (n, *x_shape) float32.

    Raises:
        ValueError: a picture that is none or shows nothing, vectors of another width, NaN.
        TypeError: of a wrong kind.
    """
    if model.shows_images:
        found = [torch.zeros(0, *model.model.spec.x_shape)]
        for i, (source, picture) in enumerate(zip(images, pictures(images, what), strict=True)):
            try:
                found.append(model.seen([picture]))
            except MetacliError as error:
                raise UnteachableError(f"{named(source, what, i)}: {error.message}", error.hint) from None
        return torch.cat(found)
    vectors = np.asarray(images, np.float32)
    if vectors.shape[1:] != model.model.spec.x_shape or not np.isfinite(vectors).all():
        raise ValueError(
            f"{what}s of shape {vectors.shape}: {model.model.spec.x_shape[0]} finite numbers each are read"
        )
    return torch.from_numpy(vectors)


def distinct(names: list[Any]) -> list[Any]:
    """Each name once, in the order in which they came; raises a TypeError where one cannot be a name."""
    try:
        return list(dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"labels are names, one for each image: {error}") from None


def in_order(classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Class names sorted where they can be compared, and the number that each had: both (classes,)."""
    try:
        order = sorted(range(len(classes)), key=classes.__getitem__)
    except TypeError:  # names of several kinds
        order = list(range(len(classes)))
    kinds = {type(name) for name in classes}
    array = np.empty(len(classes), object)
    array[:] = [classes[i] for i in order]
    return (np.array(array.tolist()) if len(kinds) == 1 and kinds <= PLAIN else array), np.array(order)
