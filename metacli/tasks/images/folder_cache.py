"""Decodes the images of a `folder` once, and keeps them in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image
from tqdm import tqdm

from metacli.errors import MetacliError, cut_lines
from metacli.system import cache, terminal
from metacli.tasks.images.pixel_digests import picture_digest, to_digest_array
from metacli.tasks.images.preprocess import prepare
from metacli.tasks.images.preprocess.decode import (
    REPLACE,
    REPLACE_ALL,
    make_opaque,
    map_bands,
    read_file,
    read_image,
    stretch_values,
)

VERSION = 4  # of the cache; increase it when any pixel or digest changes


def load_pixels(classes: dict[str, list[Path]], config: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of all classes, from the cache if they were decoded before.

    The key of the cache is a digest of the content of every file. So a changed image is decoded again, and a folder
    that was moved is not.

    Args:
        classes: the files of each class.
        config: see `decode_images`, also for the results and the errors.
    """
    files = [(path, file_digest(path)) for paths in classes.values() for path in paths]
    if not all(content for _, content in files):
        decode_images(files, config)  # raises an error that names all damaged files, these included
    prepared = f" {prepare.VERSION}" if config.prepare else ""
    key = hashlib.sha256(f"{VERSION} {PIL.__version__} {config.channels} {config.size}{prepared}\n".encode())
    for name, (path, content) in zip((n for n, paths in classes.items() for _ in paths), files, strict=True):
        key.update(f"{name}/{path.name}\n{content}\n".encode(errors="surrogateescape"))
    packed = cache.load_or_make(f"folder-{key.hexdigest()}", lambda: decode_images(files, config))
    return packed["images"], packed["digests"]


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal digits, '' if it cannot be read."""
    try:
        return hashlib.sha256(read_file(path, str(path))).hexdigest()
    except MetacliError:
        return ""


def decode_images(files: list[tuple[Path, str]], config: Any) -> dict[str, np.ndarray]:
    """Decodes image files.

    Args:
        files: the path of each file and the digest of its content.
        config: the channels, size and preparation of the images.

    Returns:
        `images` (files, channels, size, size) uint8, not inverted; `digests` (files,) bytes, see `pixel_digests`.

    Raises:
        MetacliError: files are not images, or have changed since their digests were computed. Names all of them, or
            the first ten and the number of the others.
    """
    size = config.size
    images = np.empty((len(files), config.channels, size, size), np.uint8)
    digests: list[str] = []
    errors: list[MetacliError] = []
    bar = tqdm(files, desc="decode images", file=terminal.stderr(), disable=None)
    for image, (path, expected_digest) in zip(images, bar, strict=True):
        try:
            picture = _read_unchanged(path, expected_digest)
            image[:] = (
                prepare_image(picture, size, path) if config.prepare else to_pixels(picture, config.channels, size)
            )
            digests.append(picture_digest(picture))
        except MetacliError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        listed = cut_lines([error.message for error in errors])
        raise MetacliError([f"{len(errors):,} of {len(files):,} images cannot be used:", *listed], REPLACE_ALL)
    return {"images": images, "digests": to_digest_array(digests)}


def _read_unchanged(path: Path, expected_digest: str) -> Image.Image:
    """Returns the image in a file; raises a MetacliError if it is unreadable or has another digest."""
    data = read_file(path, str(path))
    if hashlib.sha256(data).hexdigest() != expected_digest:
        raise MetacliError(
            f"the image {path} changed while it was read", "try again when no program is writing to the file"
        )
    return read_image(data, str(path), REPLACE)


def prepare_image(picture: Image.Image, size: int, path: Path) -> np.ndarray:
    """Returns (1, size, size) uint8, see `prepare.normalize_characters`; raises a MetacliError without ink."""
    try:
        return prepare.normalize_characters([picture], size)[0]
    except MetacliError as error:
        raise MetacliError(f"{path}: {error.message}", REPLACE) from None


def to_pixels(image: Image.Image, channels: int, size: int) -> np.ndarray:
    """Converts an image of any mode to (channels, size, size) uint8, with white in place of transparency.

    Args:
        image: upright.
        channels: 1 for grey, 3 for colour.
        size: height and width.
    """
    image = map_bands(make_opaque(stretch_values(image)), lambda band: band.convert("L" if channels == 1 else "RGB"))
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
