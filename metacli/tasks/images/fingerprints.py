"""Fingerprints of images: nearly equal for copies with small changes, different for other images.

Such a copy may be compressed as JPEG, resized, or have a few changed pixels. A fingerprint is a perceptual hash: the
signs of 64 coefficients of the discrete cosine transform of a small grey image. The lowest frequencies are left out,
because they only tell where the ink is. The complement of a fingerprint (~) is that of the inverted image.

MAX_DISTANCE was chosen on the 964 background characters of Omniglot. Of pairs of drawings of different characters,
1 in 10 million are that near. Of copies, 99.8 % are that near after JPEG compression of quality 50, 99.8 % after a
change of one pixel, 82 % at half the size, and 42 % after a shift by one of 105 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

LENGTH = 16  # hexadecimal digits
MAX_DISTANCE = 3  # differing bits of two fingerprints of copies
_SIZE = 32  # height and width of the small image
_FREQUENCIES = np.arange(3, 11)  # vertical and horizontal, in half periods
# Rounded to integers, which float64 multiplies exactly: every machine computes the same signs.
_COSINES = np.rint(1024 * np.cos(np.pi * (2 * np.arange(_SIZE) + 1) * _FREQUENCIES[:, None] / (2 * _SIZE)))
_ODD = _FREQUENCIES % 2 == 1  # coefficients that a mirror image has with the opposite sign
_PART_BITS = 16  # two fingerprints that differ in 3 of 64 bits have at least one of four parts in common
_MAX_CANDIDATES = 1 << 22  # pairs that are compared at once


def fingerprint(picture: Image.Image) -> str:
    """Returns the fingerprint of an image, LENGTH hexadecimal digits; zeros for a blank image."""
    grey = picture if picture.mode == "L" else picture.convert("L")
    small = np.asarray(grey.resize((_SIZE, _SIZE), Image.Resampling.HAMMING)).astype(np.float64)
    return np.packbits(_COSINES @ small @ _COSINES.T > 0).tobytes().hex()


def to_array(fingerprints: Sequence[str]) -> np.ndarray:
    """Returns fingerprints as numbers, (n,) uint64."""
    return np.frombuffer(bytes.fromhex("".join(fingerprints)), ">u8").astype(np.uint64)


def turn(fingerprints: np.ndarray, mirrored: bool, quarter_turns: int) -> np.ndarray:
    """Returns the fingerprints (n,) uint64 of images that are mirrored left to right, then rotated anti-clockwise."""
    signs = np.unpackbits(fingerprints.astype(">u8").view(np.uint8)).reshape(-1, 8, 8).astype(bool)
    if mirrored:
        signs = signs ^ _ODD
    for _ in range(quarter_turns):
        signs = signs.transpose(0, 2, 1) ^ _ODD[:, None]
    return np.packbits(signs.reshape(-1, 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def find_near_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices (pairs,) of all pairs of fingerprints that differ in at most MAX_DISTANCE bits.

    Only pairs with a common part are compared, as every such pair has one.

    Args:
        first: (n,) uint64.
        second: (m,) uint64.
    """
    found = [np.empty((0, 2), np.int64)]
    for shift in range(0, 64, _PART_BITS):
        one, two = ((side >> np.uint64(shift)).astype(np.uint16) for side in (first, second))
        order = two.argsort(kind="stable")
        starts, ends = (np.searchsorted(two[order], one, side) for side in ("left", "right"))
        counts = ends - starts
        block = counts.cumsum() // _MAX_CANDIDATES
        for number in np.unique(block):
            rows = np.flatnonzero((block == number) & (counts > 0))
            i = np.repeat(rows, counts[rows])
            place = np.arange(len(i)) - np.repeat(counts[rows].cumsum() - counts[rows], counts[rows])
            j = order[starts[i] + place]
            differing = np.unpackbits((first[i] ^ second[j]).view(np.uint8).reshape(-1, 8), axis=1).sum(1)
            near = differing <= MAX_DISTANCE
            found.append(np.stack([i[near], j[near]], 1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]
