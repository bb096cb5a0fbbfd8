"""Decodes untrusted image files with limits on their size."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from metacli.compute.settings import SharedSettings, attribute
from metacli.errors import MetacliError
from metacli.system import regular_files
from metacli.tasks.images.preprocess.file_kinds import HEAD_BYTES, SUPPORTED, name_unsupported_format
from metacli.tasks.images.preprocess.values import ValueRange, convert_values, describe_invalid_value, find_range

MAX_PIXELS = 50_000_000  # larger images are rejected before they are decoded
MAX_BYTES = 50_000_000  # maximum size of a file
FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "DIB",
    "GIF",
    "PPM",
    "WEBP",
    "TIFF",
)  # Pillow runs external programs for some other formats
REPLACE, REPLACE_ALL = "replace or remove the file", "replace or remove the files"
BAND_PIXELS = 1_000_000  # pixels converted at a time
COLOUR_MODES = ("L", "LA", "P", "RGB", "RGBA")  # modes of 8 bits that may hold values of another range
PILLOW = SharedSettings(  # another program may have changed them
    [attribute(Image, "MAX_IMAGE_PIXELS", None), attribute(ImageFile, "LOAD_TRUNCATED_IMAGES", False)]
)  # MAX_PIXELS is the limit


def read_image(source: str | os.PathLike[str] | bytes | IO[bytes], name: str, hint: str = REPLACE) -> Image.Image:
    """Decodes an image, the first one of several, and turns it upright by its EXIF data.

    Args:
        source: an image file, or its bytes.
        name: the name of the image in error messages.
        hint: the hint of error messages.

    Raises:
        MetacliError: the source is not a file, cannot be read, is not an image in one of FORMATS, has a colour space
            without a conversion, or is larger than MAX_BYTES or MAX_PIXELS.
    """
    data = source.read() if hasattr(source, "read") else source
    if not isinstance(data, bytes):
        data = read_file(Path(data), name, hint)
    try:
        with PILLOW, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if not (fault := describe_size_error(*image.size, name)):
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                if image.mode in ("P", "PA") and image.palette is None:
                    fault = f"cannot read the image {name}: its palette is missing"
                else:
                    check_convertible(image)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        if unsupported := name_unsupported_format(data[:HEAD_BYTES]):
            fault, hint = f"cannot read the image {name}: {unsupported} is not supported", f"convert it to {SUPPORTED}"
        else:
            fault = f"cannot read the image {name}: it is not an image in a supported format"
    except Exception as error:  # Pillow raises many kinds of errors for damaged files
        raise MetacliError(f"cannot read the image {name}: {error}", hint) from error
    if fault:
        raise MetacliError(fault, hint)
    return image


def check_convertible(picture: Image.Image) -> None:
    """Raises a ValueError if Pillow cannot convert an image, or if it has values that are NaN or infinite.

    One pixel is converted as the whole image is converted later.
    """
    if picture.mode == "F" and (invalid := describe_invalid_value(np.asarray(picture))):
        raise ValueError(invalid)
    pixel = make_opaque(picture.crop((0, 0, 1, 1)))
    pixel.convert("L")
    pixel.convert("RGB")


def read_file(path: Path, name: str, hint: str = REPLACE) -> bytes:
    """Returns the bytes of an image file.

    Raises:
        MetacliError: it is not a file, cannot be read, or has more than MAX_BYTES.
    """
    try:
        return regular_files.read_regular_file(path, MAX_BYTES)
    except OSError as error:
        raise MetacliError(f"cannot read the image {name}: {error.strerror or error}", hint) from error


def describe_size_error(width: int, height: int, name: str) -> str:
    """Returns an error message if an image is empty or too large, otherwise ''."""
    if width * height > MAX_PIXELS or min(width, height) < 1:
        return f"{name} has {width} x {height} pixels; an image must have 1 to {MAX_PIXELS:,} pixels"
    return ""


def find_picture_range(picture: Image.Image) -> ValueRange:
    """Returns the range of the values of an image; see `values.find_range`. It is 0 to 255 if there is transparency."""
    bounds = np.array([_find_bounds(band) for band in split_into_bands(picture)], np.float64)
    return find_range(float(bounds[:, 0].min()), float(bounds[:, 1].max()))


def _find_bounds(picture: Image.Image) -> tuple[float, float]:
    """Returns the smallest and largest value of the colours, 0 and 255 where their scale is certain."""
    if _is_numeric(picture):
        values = np.asarray(picture)
        return values.min(), values.max()
    has_opacity = picture.mode in ("LA", "RGBA") and picture.getchannel("A").getextrema() != (255, 255)
    if picture.mode not in COLOUR_MODES or has_opacity or "transparency" in picture.info:
        return 0, 255
    extrema = np.asarray(picture.convert("RGB").getextrema())
    return extrema[:, 0].min(), extrema[:, 1].max()


def to_eight_bits(picture: Image.Image) -> Image.Image:
    """Converts integers above 8 bits and floats to 0 to 255 by the rule of `values.find_range`."""
    if not _is_numeric(picture):
        return picture
    scale = find_picture_range(picture)
    return map_bands(picture, lambda band: Image.fromarray(convert_values(np.asarray(band), scale)))


def stretch_values(picture: Image.Image) -> Image.Image:
    """Converts the values of an image of any mode to 0 to 255 by the rule of `values.find_range`.

    A second conversion changes nothing.
    """
    picture = to_eight_bits(picture)
    scale = find_picture_range(picture)
    if scale == (0, 255, True):
        return picture
    mode = "L" if picture.mode in ("L", "LA") else "RGB"
    return map_bands(picture, lambda band: Image.fromarray(convert_values(np.asarray(band.convert(mode)), scale)))


def _is_numeric(picture: Image.Image) -> bool:
    """Whether the pixels are integers of 16 or 32 bits, or floats."""
    return picture.mode == "F" or picture.mode.startswith("I")


def make_opaque(picture: Image.Image) -> Image.Image:
    """Converts an image to 8 bits per channel, with white in place of transparency."""
    picture = to_eight_bits(picture)
    return lay_on_white(picture) if picture.has_transparency_data else picture


def split_into_bands(picture: Image.Image) -> Iterator[Image.Image]:
    """Yields bands of rows of an image from top to bottom, about BAND_PIXELS pixels each."""
    width, height = picture.size
    rows = max(1, BAND_PIXELS // width)
    if rows >= height:
        yield picture
        return
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height)))


def map_bands(picture: Image.Image, change: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Applies a pixel-wise function to an image in bands of rows, which saves the memory of a second large copy."""
    result: Image.Image | None = None
    top = 0
    for band in map(change, split_into_bands(picture)):
        if band.size == picture.size:
            return band
        if result is None:
            result = Image.new(band.mode, picture.size)
        result.paste(band, (0, top))
        top += band.height
    assert result is not None
    return result


def lay_on_white(picture: Image.Image) -> Image.Image:
    """Composites a transparent image on white; returns RGBA."""
    return map_bands(picture, _composite_on_white)


def _composite_on_white(picture: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
