"""Loads user images from arrays, tensors, Pillow images, bytes or paths."""

from __future__ import annotations

import math
import os
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

from metacli.errors import MetacliError
from metacli.system.operating_system import expand_home
from metacli.tasks.images.preprocess.decode import (
    check_convertible,
    describe_size_error,
    find_picture_range,
    read_image,
    stretch_values,
)
from metacli.tasks.images.preprocess.values import ValueRange, convert_values, describe_invalid_value, find_range

CHANNELS = (1, 3, 4)  # grey, colour, colour with opacity
ACCEPTED = "an image must be (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4"


class Picture(NamedTuple):
    """A user image.

    Attributes:
        image: the image, upright, with values of 0 to 255.
        range: the values that became 0 and 255.
    """

    image: Image.Image
    range: ValueRange


def load_picture(source: Any, name: str) -> Picture:
    """Loads one image, upright, and converts its values to 8 bits by the rule of `values.find_range`.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array or tensor of numbers or bools: (H, W),
            (H, W, C) or (C, H, W) with C of 1, 3 or 4.
        name: the name of the image in error messages.

    Raises:
        ValueError: values are not finite, the shape is unsupported or ambiguous, the image is too large or unreadable.
        TypeError: the source has an unsupported type.
    """
    if isinstance(source, str | os.PathLike | bytes):
        image = _open_image(source if isinstance(source, bytes) else expand_home(source), name)
    elif isinstance(source, Image.Image):
        _check_size(*source.size, name)
        try:
            check_convertible(source)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        image = ImageOps.exif_transpose(source)
    else:
        array = _to_channels_last(to_array(source, name), name)
        scale = find_range(float(array.min()), float(array.max()))
        return Picture(Image.fromarray(np.ascontiguousarray(convert_values(array, scale))), scale)
    return Picture(stretch_values(image), find_picture_range(image))


def describe_source(source: Any, kind: str, i: int) -> str:
    """Returns the name of an image in error messages: its path, or `kind` and number."""
    return str(source) if isinstance(source, str | os.PathLike) else f"{kind} {i}"


def to_array(source: Any, name: str) -> np.ndarray:
    """Returns an array, a tensor on any device, or nested lists as an array of finite numbers.

    Raises:
        ValueError: the lists have unequal lengths, or values are NaN, infinite or masked.
        TypeError: the source does not hold numbers.
    """
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().to_dense()
        source = (source.double() if source.is_floating_point() else source).numpy()
    try:
        array = np.asanyarray(source)
    except ValueError as error:
        raise ValueError(f"{name} is not an array of numbers: {error}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} is neither an array of numbers, nor a Pillow image, nor a path: {type(source)}")
    if invalid := describe_invalid_value(array):
        raise ValueError(f"{name} {invalid}")
    return np.asarray(array)


def _to_channels_last(array: np.ndarray, name: str) -> np.ndarray:
    """Returns an image as (H, W), (H, W, 3) or (H, W, 4)."""
    if array.ndim == 3:
        is_first, is_last = array.shape[0] in CHANNELS, array.shape[2] in CHANNELS
        if is_first and is_last:
            message = f"{name} has shape {array.shape}, which can be (C, H, W) or (H, W, C)"
            raise ValueError(f"{message}: pass a Pillow image instead")
        array = np.moveaxis(array, 0, 2) if is_first else array
        array = array[:, :, 0] if array.shape[2] == 1 else array
    if 0 in array.shape or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        side = math.isqrt(array.size)
        remedy = ""
        if array.ndim == 1 and side > 1 and side**2 == array.size:
            remedy = f"; if it is flattened, reshape the array of images to (-1, {side}, {side})"
        elif array.ndim == 4:
            remedy = "; pass the images of a batch one by one, as in list(batch)"
        raise ValueError(f"{name} has shape {array.shape}; {ACCEPTED}{remedy}")
    _check_size(array.shape[1], array.shape[0], name)
    return array


def _open_image(source: str | os.PathLike[str] | bytes, name: str) -> Image.Image:
    try:
        return read_image(source, name)
    except MetacliError as error:
        raise ValueError(error.message) from None


def _check_size(width: int, height: int, name: str) -> None:
    if fault := describe_size_error(width, height, name):
        raise ValueError(fault)
