"""Checks and converts the images or vectors that a Learner receives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metacli.classifier.few_shot_model import FewShotModel
from metacli.classifier.labels import plain_labels
from metacli.errors import MetacliError
from metacli.system.caller_warnings import warn_caller
from metacli.tasks.images.preprocess.pictures import describe_source, load_picture, to_array
from metacli.tasks.images.preprocess.prepare import touches_edge

TOUCHES_EDGE = "ink touches the edge of {}: leave a border of paper around each character"
STRETCHED = "values are in none of the ranges 0 to 1, 0 to 255 and 0 to 65535, so they were stretched: {}"
MAX_LISTED = 3  # images that a warning names


class PictureWarning(UserWarning):
    """An image is unlike those that a model answers well."""


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


class PreparedPicture(NamedTuple):
    """An image, and the model's input made from it.

    Attributes:
        image: the image, upright, with values of 0 to 255.
        pixels: (C, H, W) float32 in [0, 1].
        doubts: (template of a warning, name of the image) for `describe_doubts`.
    """

    image: Image.Image
    pixels: Tensor
    doubts: list[tuple[str, str]]


def prepare_picture(few_shot: FewShotModel, source: Any, name: str) -> PreparedPicture:
    """Loads an image, see `load_picture`, and preprocesses it for a model.

    Raises:
        ValueError: the image cannot be read, or contains no ink.
        TypeError: the source has an unsupported type.
    """
    image, scale = load_picture(source, name)
    doubts = [] if scale.is_usual else [(STRETCHED, f"{name} ({scale.low:g} to {scale.high:g})")]
    try:
        pixels = few_shot.preprocess([image])[0]
        if few_shot.prepares and touches_edge(image, few_shot.invert):
            doubts.append((TOUCHES_EDGE, name))
    except MetacliError as error:
        raise UnteachableError(f"{name}: {error.message}", error.hint) from None
    return PreparedPicture(image, pixels, doubts)


def describe_doubts(doubts: Iterable[tuple[str, str]]) -> list[str]:
    """Returns one warning for each template, with the names of up to MAX_LISTED images and the number of others."""
    names_of: dict[str, list[str]] = {}
    for template, name in doubts:
        names_of.setdefault(template, []).append(name)
    return [
        template.format(
            ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")
        )
        for template, names in names_of.items()
    ]


def list_inputs(inputs: Any) -> list[Any]:
    """Returns a collection of images or vectors as a list.

    Raises:
        TypeError: it is not an ordered collection.
    """
    if isinstance(inputs, str | bytes | dict | set | frozenset | Image.Image) or not isinstance(inputs, Iterable):
        raise TypeError(f"expected a list or an array of images, not {type(inputs).__name__}")
    if not isinstance(inputs, Tensor) and hasattr(inputs, "__array__"):
        inputs = np.asanyarray(inputs)  # a DataFrame would yield the names of its columns
    if not getattr(inputs, "ndim", 1):
        raise TypeError("expected a list or an array of images, not a single number")
    return list(inputs)


def check_pairs(images: Any, labels: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Returns images and plain labels as lists of equal length.

    Raises:
        TypeError: `images` or `labels` is not an ordered collection, or a label is not hashable.
        ValueError: the lengths differ, or a label is missing.
    """
    image_list, label_list = list_inputs(images), plain_labels(labels)
    if len(image_list) != len(label_list):
        raise ValueError(f"{len(image_list)} images, but {len(label_list)} labels")
    return image_list, label_list


def preprocess_inputs(few_shot: FewShotModel, inputs: list[Any], kind: str) -> Tensor:
    """Returns images or vectors as the model reads them, (n, *x_shape) float32. Warns of unusual images.

    Args:
        few_shot: the model.
        inputs: images or vectors.
        kind: the name of an input in error messages, such as `query`.

    Raises:
        ValueError: an image cannot be read or is empty, vectors have the wrong width or contain NaN.
        TypeError: an input has an unsupported type.
    """
    shape = few_shot.model.spec.x_shape
    if few_shot.reads_images:
        named = ((source, describe_source(source, kind, i)) for i, source in enumerate(inputs))
        prepared = [prepare_picture(few_shot, source, name) for source, name in named]
        tensors = [torch.zeros(0, *shape), *(picture.pixels[None] for picture in prepared)]
        for text in describe_doubts(doubt for picture in prepared for doubt in picture.doubts):
            warn_caller(text, PictureWarning)
        return torch.cat(tensors)
    vectors = [to_array(vector, f"{kind} {i}") for i, vector in enumerate(inputs)]
    for i, vector in enumerate(vectors):
        if vector.shape != shape:
            raise ValueError(f"{kind} {i} has shape {vector.shape}, but the model reads vectors of {shape[0]} numbers")
    return torch.from_numpy(np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, *shape), np.float32))
