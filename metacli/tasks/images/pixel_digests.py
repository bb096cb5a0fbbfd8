"""Digests of decoded pictures: equal pixels have equal digests, in whatever file and mode they are stored."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from metacli.tasks.images.preprocess.decode import make_opaque, map_bands, split_into_bands

LENGTH = 16  # hexadecimal digits that are kept of a SHA-256


def picture_digest(picture: Image.Image) -> str:
    """The digest of a picture: LENGTH hexadecimal digits.

    It is taken of the picture as training decodes it, before any resizing: upright by its EXIF data (see
    `decode.read_image`), 8 bits a channel, on white paper where it is transparent. A picture with three equal channels
    counts as grey. So a lossless copy has the same digest, whether it is stored with one bit, as grey, as colours, with
    a palette or with an alpha channel.

    SHA-256 reads the ASCII text "WIDTH HEIGHT CHANNELS", a line feed, and the pixels row by row: one byte each for
    grey, otherwise red, green and blue.
    """
    picture = make_opaque(picture)
    if picture.mode not in ("1", "L"):
        picture = map_bands(picture, lambda band: band.convert("RGB"))
        if all(map(_is_grey, split_into_bands(picture))):
            picture = picture.getchannel("R")
    mode = "RGB" if picture.mode == "RGB" else "L"
    digest = hashlib.sha256(f"{picture.width} {picture.height} {len(mode)}\n".encode())
    for band in split_into_bands(picture):
        digest.update(band.convert(mode).tobytes())
    return digest.hexdigest()[:LENGTH]


def image_digests(images: np.ndarray) -> np.ndarray:
    """The digests of images that come from no file, (images,) bytes of length LENGTH.

    Args:
        images: (images, channels, height, width) uint8; other than three channels count as one grey picture, channel
            below channel.
    """
    count, channels, height, width = images.shape
    rows = images.transpose(0, 2, 3, 1) if channels == 3 else images.reshape(count, channels * height, width)
    return to_digest_array([picture_digest(Image.fromarray(np.ascontiguousarray(image))) for image in rows])


def to_digest_array(digests: list[str]) -> np.ndarray:
    """Digests in the form in which the cache keeps them, (images,) bytes of length LENGTH."""
    return np.array(digests, f"S{LENGTH}")


def _is_grey(band: Image.Image) -> bool:
    """Whether the three channels of an RGB picture are equal."""
    red, green, blue = (channel.tobytes() for channel in band.split())
    return red == green == blue
