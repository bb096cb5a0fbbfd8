"""Pictures of characters, however they were made, brought to one form: drawings, scans and photographs alike.

Ink on paper either way round, cut out, as large as its frame, and redrawn by a pen of one width. Training data and a
person's own pictures go through the same lines, so that a model sees the one as it saw the other.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.decode import by_bands, eight_bits, on_white
from metacli.tasks.images.preprocess.thinning import thinned

VERSION = 1  # another number where any pixel is made otherwise
FRAME = 112  # height and width of the sheet that a character is redrawn on
INK = 92  # the longer side of its ink there
PEN = 5  # width of the pen there
LARGEST = 360  # the longer side of a picture that is looked at; larger ones are made smaller first
SMALLEST = 0.15  # ink is magnified as if it took at least this share of its picture: a dot stays a small thing
FAINTEST = 12.0  # difference between ink and paper, of 255, that is still ink
ONE_COLOUR = 40  # range of brightness of what counts as one colour
FLAT = 0.8  # share of the edge that is equally bright where the paper needs no surface
DEGREE = 2  # of the surface that is fitted to the paper's brightness
COARSE = 64  # pixels across that it is fitted to
FITS = 5  # each without what stood out from the last
AT_ONCE = 256  # sheets; few enough to stay near the processor


def characters(pictures: list[Image.Image], size: int) -> np.ndarray:
    """Pictures of one character each in the form that models read.

    Args:
        pictures: of any size and mode, turned upright.
        size: height and width of what comes out.

    Returns:
        (M, 1, size, size) uint8, ink 255 on paper 0.

    Raises:
        MetacliError: a picture has no ink.
    """
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for start in range(0, len(pictures), AT_ONCE):
        some = pictures[start : start + AT_ONCE]
        sheets = np.stack([sheet(ink_of(grey(picture))) for picture in some])
        for image, drawing in zip(out[start:], drawn(thinned(sheets)), strict=False):
            image[0] = np.asarray(Image.fromarray(drawing).resize((size, size), Image.Resampling.BOX))
    return out


def fitted(pictures: list[Image.Image], size: int) -> np.ndarray:
    """The same pictures whole, as light ink on dark paper, for models whose training data were not prepared."""
    out = np.empty((len(pictures), 1, size, size), np.uint8)
    for image, picture in zip(out, pictures, strict=True):
        brightness = grey(picture)
        paper = float(np.median(paper_of(brightness)))
        ink = 255 - brightness if paper > 127 else brightness
        image[0] = np.asarray(Image.fromarray(ink.astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS))
    return out


def grey(picture: Image.Image) -> np.ndarray:
    """(H, W) float32 brightness, 0 to 255, no side longer than LARGEST; on white where it is transparent.

    Of a picture that is all one colour where it is not transparent, the opacity is the ink.
    """
    picture = eight_bits(picture)
    if picture.has_transparency_data:
        picture = flattened(by_bands(picture, lambda band: band.convert("RGBA")))
    picture = by_bands(picture, lambda band: band.convert("L"))
    picture.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def flattened(picture: Image.Image) -> Image.Image:
    """A picture with opacity (RGBA) without it: laid on white, or the opacity itself where that is what was drawn."""
    opacity, brightness = np.asarray(picture.getchannel("A")), np.asarray(picture.convert("RGB").convert("L"))
    solid = brightness[opacity >= 128]
    if 0 < solid.size < opacity.size and np.ptp(np.percentile(solid, (5, 95))) < ONE_COLOUR:
        return Image.fromarray(255 - opacity)
    return on_white(picture)


def ink_of(brightness: np.ndarray) -> np.ndarray:
    """Brightness (H, W) to the contrast of ink with its paper, (H, W) float32, at most 0 where there is none.

    The paper is a surface, of the brightness that most of the picture has, which light from one side may slope. What
    stands out from it to the rarer side is ink. The number is above 0 where it is more ink than paper.

    Raises:
        MetacliError: nothing stands out.
    """
    height, width = brightness.shape
    if min(height, width) < 3:
        raise MetacliError(f"{width} x {height} pixels show no character", "give it a larger picture")
    contrast = brightness - paper_of(brightness)
    dark, light = np.maximum(-contrast, 0), np.maximum(contrast, 0)
    ink = dark if (dark**2).sum() >= (light**2).sum() else light
    level = otsu(ink)
    if ink.max() < FAINTEST:
        raise MetacliError("it shows no ink: all of it is about equally bright", "draw darker, or take it away")
    return ink - np.float32(level)


def paper_of(brightness: np.ndarray) -> np.ndarray | np.float32:
    """The brightness of the paper, (H, W) or one number, from what lies near that of most of the picture's edge."""
    height, width = brightness.shape
    edge = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    level = np.median(edge)
    if np.mean(np.abs(edge - level) < FAINTEST / 2) > FLAT:
        return np.float32(level)
    step = max(1, round(max(height, width) / COARSE))
    terms = _terms(np.arange(0, height, step) / height, np.arange(0, width, step) / width)
    y = brightness[::step, ::step].ravel().astype(np.float64)
    kept = np.abs(y - level) <= max(3 * float(np.median(np.abs(edge - level))), FAINTEST)
    for _ in range(FITS):
        some = terms[kept]
        weights = np.linalg.solve(some.T @ some + 1e-9 * np.eye(some.shape[1]), some.T @ y[kept])
        off = np.abs(y - terms @ weights)
        kept = off <= max(3 * float(np.median(off)), FAINTEST / 2)
    return (_terms(np.arange(height) / height, np.arange(width) / width) @ weights).reshape(height, width)


def _terms(down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(H * W, terms) the powers up to DEGREE of the place of each pixel."""
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return np.stack([np.outer(down**i, across**j).ravel() for i, j in powers], 1)


def otsu(values: np.ndarray) -> float:
    """The level that parts values into two classes of least variance (Otsu 1979), between 0 and the greatest."""
    count, edge = np.histogram(values, 128, (0, max(float(values.max()), 1e-6)))
    middle = (edge[1:] + edge[:-1]) / 2
    below, sum_below = count.cumsum(), (count * middle).cumsum()
    above, sum_above = below[-1] - below, sum_below[-1] - sum_below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num(below * above * (sum_below / below - sum_above / above) ** 2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))  # more than one where no value lies between
    return float(edge[1:][best].mean())


def sheet(ink: np.ndarray) -> np.ndarray:
    """Ink (H, W), above 0 where there is some, cut out and laid on the middle of a sheet, (FRAME, FRAME) bool."""
    rows, columns = np.flatnonzero((ink > 0).any(1)), np.flatnonzero((ink > 0).any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    longer = max(bottom - top, right - left, SMALLEST * max(ink.shape))
    scale = INK / longer
    height, width = max(round((bottom - top) * scale), 1), max(round((right - left) * scale), 1)
    cut = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR, (left, top, right, bottom))
    page = np.zeros((FRAME, FRAME), bool)
    y, x = (FRAME - height) // 2, (FRAME - width) // 2
    page[y : y + height, x : x + width] = np.asarray(cut) > 0
    return page


def drawn(lines: np.ndarray) -> np.ndarray:
    """Lines one pixel wide (M, H, W) bool, gone over by a round pen: (M, H, W) uint8, ink 255."""
    reach = PEN // 2
    inside = np.zeros(lines.shape, bool)
    for down in range(-reach, reach + 1):
        half = int(np.sqrt(reach**2 + reach - down**2))
        spread = _spread(lines, half)
        to, of = slice(max(down, 0), lines.shape[1] + min(down, 0)), slice(max(-down, 0), lines.shape[1] - max(down, 0))
        inside[:, to] |= spread[:, of]
    return inside.astype(np.uint8) * np.uint8(255)


def _spread(lines: np.ndarray, half: int) -> np.ndarray:
    """Lines spread `half` pixels either way along their rows."""
    wide = lines.copy()
    for step in range(1, half + 1):
        wide[:, :, step:] |= lines[:, :, :-step]
        wide[:, :, :-step] |= lines[:, :, step:]
    return wide
