"""Digests of decoded images. Equal pixels have equal digests, whatever the file format and mode.

A digest has two parts: EXACT digits that differ with any pixel, then a fingerprint that copies with small changes share
(see `metacli.tasks.images.fingerprints`).
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from metacli.tasks.images import fingerprints
from metacli.tasks.images.preprocess.decode import make_opaque, map_bands, split_into_bands

EXACT = 16  # number of hexadecimal digits that are kept of a SHA-256
LENGTH = EXACT + fingerprints.LENGTH


def picture_digest(picture: Image.Image) -> str:
    """Returns the digest of an image, LENGTH hexadecimal digits.

    It is computed from the image as training decodes it, before resizing: upright by its EXIF data (see
    `decode.read_image`), with 8 bits per channel and with white in place of transparency. An image with three equal
    channels counts as grey. So every lossless copy has the same digest, whether it is stored with one bit, as grey, in
    colour, with a palette or with an alpha channel.

    The fingerprint is that of the same pixels. SHA-256 reads the ASCII text "WIDTH HEIGHT CHANNELS", a line feed, and
    the pixels row by row: one byte each for grey, otherwise red, green and blue.
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
    return digest.hexdigest()[:EXACT] + fingerprints.fingerprint(picture)


def image_digests(images: np.ndarray) -> np.ndarray:
    """Returns the digests of generated images, (images,) bytes of length LENGTH.

    Args:
        images: (images, channels, height, width) uint8. If there are not three channels, they are stacked vertically
            into one grey image.
    """
    count, channels, height, width = images.shape
    rows = images.transpose(0, 2, 3, 1) if channels == 3 else images.reshape(count, channels * height, width)
    return to_digest_array([picture_digest(Image.fromarray(np.ascontiguousarray(image))) for image in rows])


def to_digest_array(digests: list[str]) -> np.ndarray:
    """Returns digests in the format of the cache, (images,) bytes of length LENGTH."""
    return np.array(digests, f"S{LENGTH}")


def _is_grey(band: Image.Image) -> bool:
    """Whether the three channels of an RGB image are equal."""
    red, green, blue = (channel.tobytes() for channel in band.split())
    return red == green == blue
