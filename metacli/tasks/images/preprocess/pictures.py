"""Loads user images from arrays, Pillow images, bytes or paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.decode import check_convertible, describe_size_error, read_image


def load_image(source: Any, name: str) -> Image.Image:
    """Loads one image, upright.

    Args:
        source: a path, the bytes of an image file, a Pillow image, or an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4): bool, uint8, or numbers in [0, 255] ([0, 1] if none is above 1).
        name: the name of the image in error messages.

    Raises:
        ValueError: values are not finite, the shape is unsupported, the image is too large or unreadable.
        TypeError: the source has an unsupported type.
    """
    if isinstance(source, Image.Image):
        check_image_size(*source.size, name)
        try:
            check_convertible(source)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return ImageOps.exif_transpose(source)
    if isinstance(source, str | os.PathLike | bytes):
        return open_image(source, name)
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise ValueError(f"{name} is not an array of numbers: {error}") from None
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} is neither an array of numbers, nor a Pillow image, nor a path: {type(source)}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; an image must be (H, W), (H, W, 3) or (H, W, 4)")
    check_image_size(array.shape[1], array.shape[0], name)
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} contains NaN or infinite numbers")
    if numbers.min() < 0 or numbers.max() > 255:
        raise ValueError(f"{name} has numbers from {numbers.min():g} to {numbers.max():g}; use 0 to 1, or 0 to 255")
    return Image.fromarray(np.rint(numbers * (255 if numbers.max() <= 1 else 1)).astype(np.uint8))


def open_image(source: str | os.PathLike[str] | bytes, name: str) -> Image.Image:
    """Opens an image file, upright; raises a ValueError if it is unreadable or too large."""
    try:
        return read_image(source, name)
    except MetacliError as error:
        raise ValueError(error.message) from None


def check_image_size(width: int, height: int, name: str) -> None:
    """Raises a ValueError if an image is empty or too large."""
    if fault := describe_size_error(width, height, name):
        raise ValueError(fault)


def load_images(sources: Iterable[Any], kind: str) -> list[Image.Image]:
    """Loads several images, see `load_image`. Error messages name an image by its path, or by `kind` and number."""
    if isinstance(sources, str | bytes | Image.Image) or not isinstance(sources, Iterable):
        raise TypeError(f"expected a list or an array of images, not {type(sources).__name__}")
    return [load_image(source, describe_source(source, kind, i)) for i, source in enumerate(sources)]


def describe_source(source: Any, kind: str, i: int) -> str:
    """Returns the name of an image in error messages: its path, or `kind` and number."""
    return str(source) if isinstance(source, str | os.PathLike) else f"{kind} {i}"
