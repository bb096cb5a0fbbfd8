"""Normalises images of characters, so that drawings, scans and photographs look alike.

The ink, dark or light, is cut out, scaled to a common size, thinned, and redrawn with a pen of fixed width. The same
code normalises training data and user images.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from metacli.tasks.images.preprocess.decode import lay_on_white, map_bands, stretch_values
from metacli.tasks.images.preprocess.ink import edge_pixels, estimate_paper, extract_ink
from metacli.tasks.images.preprocess.thinning import thin_strokes

VERSION = 2  # change it when any output pixel changes
FRAME = 112  # height and width of the sheet on which a character is redrawn
INK_SIDE = 92  # the longer side of the ink on the sheet
PEN = 5  # width of the pen on the sheet
MAX_SIDE = 360  # larger images are scaled down to this first
MIN_INK_SHARE = 0.15  # lower bound of the ink's share of the image in scaling, so that a dot stays small
UNIFORM_RANGE = 40  # range of brightness that counts as one colour
CHUNK_SHEETS = 256  # few enough to fit into the processor's cache


def normalize_characters(pictures: list[Image.Image], size: int, invert: bool | None = None) -> np.ndarray:
    """Normalises images of one character each.

    Args:
        pictures: images of any size and mode, upright.
        size: height and width of the result.
        invert: True for dark ink on light paper, False for light ink on dark paper, None to detect it in each image.

    Returns:
        (M, 1, size, size) uint8, ink 255 on paper 0.

    Raises:
        MetacliError: an image has no ink.
    """
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for start in range(0, len(pictures), CHUNK_SHEETS):
        chunk = pictures[start : start + CHUNK_SHEETS]
        sheets = np.stack([center_on_sheet(extract_ink(to_brightness(picture), invert)) for picture in chunk])
        for image, drawing in zip(out[start:], redraw_lines(thin_strokes(sheets)), strict=False):
            image[0] = np.asarray(Image.fromarray(drawing).resize((size, size), Image.Resampling.BOX))
    return out


def resize_images(pictures: list[Image.Image], size: int, invert: bool | None = None) -> np.ndarray:
    """Scales whole images, as light ink on dark paper, for models whose training data were not normalised.

    Args:
        pictures: images of any size and mode, upright.
        size: height and width of the result.
        invert: see `normalize_characters`.

    Returns:
        (M, 1, size, size) uint8.
    """
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for image, picture in zip(out, pictures, strict=True):
        brightness = to_brightness(picture)
        is_dark_ink = float(np.median(estimate_paper(brightness))) > 127 if invert is None else invert
        ink = 255 - brightness if is_dark_ink else brightness
        image[0] = np.asarray(Image.fromarray(ink.astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS))
    return out


def touches_edge(picture: Image.Image, invert: bool | None = None) -> bool:
    """Whether the ink of an image reaches its edge, so that a part of the character may be missing.

    Raises:
        MetacliError: there is no ink.
    """
    return bool((edge_pixels(extract_ink(to_brightness(picture), invert)) > 0).any())


def to_brightness(picture: Image.Image) -> np.ndarray:
    """Returns the brightness (H, W) float32 in [0, 255], no side longer than MAX_SIDE, transparency on white.

    If all opaque pixels have one colour, the opacity is the ink.
    """
    picture = stretch_values(picture)
    if picture.has_transparency_data:
        picture = remove_opacity(map_bands(picture, lambda band: band.convert("RGBA")))
    picture = map_bands(picture, lambda band: band.convert("L"))
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def remove_opacity(picture: Image.Image) -> Image.Image:
    """Converts an RGBA image: laid on white, or the opacity itself if all opaque pixels have one colour."""
    opacity, brightness = np.asarray(picture.getchannel("A")), np.asarray(picture.convert("RGB").convert("L"))
    solid = brightness[opacity >= 128]
    if 0 < solid.size < opacity.size and np.ptp(np.percentile(solid, (5, 95))) < UNIFORM_RANGE:
        return Image.fromarray(255 - opacity)
    return lay_on_white(picture)


def center_on_sheet(ink: np.ndarray) -> np.ndarray:
    """Crops the ink (H, W), which is above 0, scales it, and centers it on a sheet (FRAME, FRAME) bool."""
    rows, columns = np.flatnonzero((ink > 0).any(1)), np.flatnonzero((ink > 0).any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    longer_side = max(bottom - top, right - left, MIN_INK_SHARE * max(ink.shape))
    scale = INK_SIDE / longer_side
    height, width = max(round((bottom - top) * scale), 1), max(round((right - left) * scale), 1)
    scaled = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    page = np.zeros((FRAME, FRAME), bool)
    y, x = (FRAME - height) // 2, (FRAME - width) // 2
    page[y : y + height, x : x + width] = np.asarray(scaled) > 0
    return page


def redraw_lines(lines: np.ndarray) -> np.ndarray:
    """Redraws lines one pixel wide (M, H, W) bool with a round pen; returns (M, H, W) uint8, ink 255."""
    radius = PEN // 2
    inside = np.zeros(lines.shape, bool)
    for down in range(-radius, radius + 1):
        half_width = int(np.sqrt(radius**2 + radius - down**2))
        widened = _widen_rows(lines, half_width)
        target = slice(max(down, 0), lines.shape[1] + min(down, 0))
        source = slice(max(-down, 0), lines.shape[1] - max(down, 0))
        inside[:, target] |= widened[:, source]
    return inside.astype(np.uint8) * np.uint8(255)


def _widen_rows(lines: np.ndarray, half_width: int) -> np.ndarray:
    """Widens lines by `half_width` pixels to both sides along their rows."""
    widened = lines.copy()
    for step in range(1, half_width + 1):
        widened[:, :, step:] |= lines[:, :, :-step]
        widened[:, :, :-step] |= lines[:, :, step:]
    return widened
