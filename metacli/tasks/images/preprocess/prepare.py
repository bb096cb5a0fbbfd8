"""Normalises images of characters, so that drawings, scans and photographs look alike.

The ink, dark or light, is cut out, scaled to a common size, thinned, and redrawn with a pen of fixed width. The same
code normalises training data and user images.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.decode import lay_on_white, map_bands, to_eight_bits
from metacli.tasks.images.preprocess.thinning import thin_strokes

VERSION = 1  # change it when any output pixel changes
FRAME = 112  # height and width of the sheet on which a character is redrawn
INK_SIDE = 92  # the longer side of the ink on the sheet
PEN = 5  # width of the pen on the sheet
MAX_SIDE = 360  # larger images are scaled down to this first
MIN_INK_SHARE = 0.15  # lower bound of the ink's share of the image in scaling, so that a dot stays small
MIN_CONTRAST = 12.0  # minimum difference of brightness between ink and paper, of 255
UNIFORM_RANGE = 40  # range of brightness that counts as one colour
FLAT_EDGE_SHARE = 0.8  # share of equally bright edge pixels above which the paper has constant brightness
DEGREE = 2  # degree of the polynomial that is fitted to the paper's brightness
FIT_PIXELS = 64  # pixels per side in the fit
FIT_ITERATIONS = 5  # each iteration excludes outliers of the previous one
CHUNK_SHEETS = 256  # few enough to fit into the processor's cache


def normalize_characters(pictures: list[Image.Image], size: int) -> np.ndarray:
    """Normalises images of one character each.

    Args:
        pictures: images of any size and mode, upright.
        size: height and width of the result.

    Returns:
        (M, 1, size, size) uint8, ink 255 on paper 0.

    Raises:
        MetacliError: an image has no ink.
    """
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for start in range(0, len(pictures), CHUNK_SHEETS):
        chunk = pictures[start : start + CHUNK_SHEETS]
        sheets = np.stack([center_on_sheet(extract_ink(to_brightness(picture))) for picture in chunk])
        for image, drawing in zip(out[start:], redraw_lines(thin_strokes(sheets)), strict=False):
            image[0] = np.asarray(Image.fromarray(drawing).resize((size, size), Image.Resampling.BOX))
    return out


def resize_images(pictures: list[Image.Image], size: int) -> np.ndarray:
    """Scales whole images, as light ink on dark paper, for models whose training data were not normalised."""
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for image, picture in zip(out, pictures, strict=True):
        brightness = to_brightness(picture)
        paper = float(np.median(estimate_paper(brightness)))
        ink = 255 - brightness if paper > 127 else brightness
        image[0] = np.asarray(Image.fromarray(ink.astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS))
    return out


def to_brightness(picture: Image.Image) -> np.ndarray:
    """Returns the brightness (H, W) float32 in [0, 255], no side longer than MAX_SIDE, transparency on white.

    If all opaque pixels have one colour, the opacity is the ink.
    """
    picture = to_eight_bits(picture)
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


def extract_ink(brightness: np.ndarray) -> np.ndarray:
    """Returns the contrast of the ink, (H, W) float32, above 0 where a pixel is ink rather than paper.

    The paper has the brightness of most of the image, with a smooth variation from the lighting. Pixels that are darker
    or lighter than the paper, whichever has more contrast in total, are ink.

    Raises:
        MetacliError: there is no ink.
    """
    height, width = brightness.shape
    if min(height, width) < 3:
        raise MetacliError(f"the image has only {width} x {height} pixels", "use a larger image")
    contrast = brightness - estimate_paper(brightness)
    dark, light = np.maximum(-contrast, 0), np.maximum(contrast, 0)
    ink = dark if (dark**2).sum() >= (light**2).sum() else light
    level = otsu_threshold(ink)
    if ink.max() < MIN_CONTRAST:
        raise MetacliError(
            "the image contains no ink: its brightness is almost uniform",
            "draw with more contrast, or remove the image",
        )
    return ink - np.float32(level)


def estimate_paper(brightness: np.ndarray) -> np.ndarray | np.float32:
    """Returns the brightness of the paper, (H, W) or a single number, fitted to pixels near that of the edge."""
    height, width = brightness.shape
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    level = np.median(edge)
    if np.mean(np.abs(edge - level) < MIN_CONTRAST / 2) > FLAT_EDGE_SHARE:
        return np.float32(level)
    step = max(1, round(max(height, width) / FIT_PIXELS))
    terms = _polynomial_terms(np.arange(0, height, step) / height, np.arange(0, width, step) / width)
    values = brightness[::step, ::step].ravel().astype(np.float64)
    is_paper = np.abs(values - level) <= max(3 * float(np.median(np.abs(edge - level))), MIN_CONTRAST)
    for _ in range(FIT_ITERATIONS):
        kept_terms = terms[is_paper]
        gram = kept_terms.T @ kept_terms + 1e-9 * np.eye(kept_terms.shape[1])
        weights = np.linalg.solve(gram, kept_terms.T @ values[is_paper])
        residual = np.abs(values - terms @ weights)
        is_paper = residual <= max(3 * float(np.median(residual)), MIN_CONTRAST / 2)
    return (_polynomial_terms(np.arange(height) / height, np.arange(width) / width) @ weights).reshape(height, width)


def _polynomial_terms(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Returns (H * W, terms), the monomials up to DEGREE of the coordinates of each pixel."""
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([np.outer(down**i, across**j).ravel() for i, j in powers], 1)


def otsu_threshold(values: np.ndarray) -> float:
    """Returns the threshold that splits values into two classes of least variance (Otsu 1979)."""
    count, edge = np.histogram(values, 128, (0, max(float(values.max()), 1e-6)))
    bin_centre = (edge[1:] + edge[:-1]) / 2
    below, sum_below = count.cumsum(), (count * bin_centre).cumsum()
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num(below * above * (sum_below / below - sum_above / above) ** 2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # several if no value lies between them
    return float(edge[1:][best].mean())


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
