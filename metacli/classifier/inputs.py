"""Checks and converts the arguments of a Learner: images or vectors, and their labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metacli.classifier.few_shot_model import FewShotModel
from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.pictures import describe_source, load_images

SCALAR_TYPES = {str, int, float, bool, np.str_, np.int64, np.int32, np.float64, np.bool_}


class UnteachableError(ValueError):
    """The model does not support these classes or support examples.

    Args:
        message: what is wrong.
        hint: how to solve it.
    """

    def __init__(self, message: str, hint: str):
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


def check_pairs(images: Any, labels: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Returns images and labels as lists of equal length.

    Raises:
        TypeError: `images` is not a collection of images.
        ValueError: the lengths differ.
    """
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise TypeError(f"expected a list or an array of images, not {type(images).__name__}")
    image_list, label_list = list(images), list(labels)
    if len(image_list) != len(label_list):
        raise ValueError(f"{len(image_list)} images, but {len(label_list)} labels")
    return image_list, label_list


def preprocess_inputs(few_shot: FewShotModel, inputs: Any, kind: str) -> Tensor:
    """Returns images or vectors as the model reads them, (n, *x_shape) float32.

    Args:
        kind: the name of an input in error messages, such as `query`.

    Raises:
        ValueError: an image cannot be read or is empty, vectors have the wrong width or contain NaN.
        TypeError: an input has an unsupported type.
    """
    if few_shot.reads_images:
        tensors = [torch.zeros(0, *few_shot.model.spec.x_shape)]
        for i, (source, image) in enumerate(zip(inputs, load_images(inputs, kind), strict=True)):
            try:
                tensors.append(few_shot.preprocess([image]))
            except MetacliError as error:
                raise UnteachableError(f"{describe_source(source, kind, i)}: {error.message}", error.hint) from None
        return torch.cat(tensors)
    vectors = np.asarray(inputs, np.float32)
    if vectors.shape[1:] != few_shot.model.spec.x_shape or not np.isfinite(vectors).all():
        width = few_shot.model.spec.x_shape[0]
        raise ValueError(f"the model reads vectors of {width} finite numbers, but the input has shape {vectors.shape}")
    return torch.from_numpy(vectors)


def unique_labels(labels: list[Any]) -> list[Any]:
    """Returns each label once, in order of first appearance; raises a TypeError for an unhashable label."""
    try:
        return list(dict.fromkeys(labels))
    except TypeError as error:
        raise TypeError(f"labels must be hashable, such as class names: {error}") from None


def sort_classes(classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the classes sorted, if they can be compared, and the index of each in `classes`; both (classes,)."""
    try:
        order = sorted(range(len(classes)), key=classes.__getitem__)
    except TypeError:  # labels of several types
        order = list(range(len(classes)))
    types = {type(name) for name in classes}
    array = np.empty(len(classes), object)
    array[:] = [classes[i] for i in order]
    return (np.array(array.tolist()) if len(types) == 1 and types <= SCALAR_TYPES else array), np.array(order)
