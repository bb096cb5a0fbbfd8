"""Recognises the format of an image file by its content."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from metacli.system import regular_files

HEAD_BYTES = 256  # the first bytes of a file, enough to recognise its format
SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".webp", ".tif", ".tiff"),
}
SUPPORTED = "PNG, JPEG, BMP, GIF, WebP, TIFF or PPM"  # for messages; `decode.FORMATS` has Pillow's names
UNSUPPORTED_SUFFIXES = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpx", ".jpf"), "JPEG 2000"),
    ".jxl": "JPEG XL",
    ".svg": "SVG",
    ".psd": "PSD",
    ".tga": "TGA",
    ".ico": "ICO",
}
_INFO_SIZES = (40, 52, 56, 64, 108, 124)  # lengths of the header of a bitmap; 12 is that of the oldest version
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    *((prefix, "TIFF") for prefix in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")),
)
_UNSUPPORTED_SIGNATURES = (
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS\0", "PSD"),
    (b"\0\0\1\0", "ICO"),
)
_NETPBM = re.compile(rb"P(?:[1-6]|f)\s(?:\s|#[^\n]*\n)*[1-9][0-9]*\s")
_HEIC_BRANDS = re.compile(rb"he[iv][cmsx]|mif1|msf1")


class FileKind(Enum):
    """What a file is.

    PICTURE: an image in a supported format, or a file whose suffix says so, which may be damaged.
    UNSUPPORTED: an image in another format.
    OTHER: any other file.
    """

    PICTURE = "picture"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


def identify_file(path: Path) -> FileKind:
    """Returns the kind of a file by its content. The suffix counts only if the content is that of no known format."""
    head = _read_head(path)
    if is_supported(head):
        return FileKind.PICTURE
    if name_unsupported_format(head):
        return FileKind.UNSUPPORTED
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return FileKind.PICTURE
    return FileKind.UNSUPPORTED if suffix in UNSUPPORTED_SUFFIXES else FileKind.OTHER


def read_format_name(path: Path) -> str:
    """Returns the name of the format of an UNSUPPORTED file."""
    return name_unsupported_format(_read_head(path)) or UNSUPPORTED_SUFFIXES.get(path.suffix.lower(), "unknown")


def is_supported(head: bytes) -> bool:
    """Returns whether a file that begins with these bytes is an image in a supported format."""
    if any(head.startswith(prefix) for prefix, _ in _SIGNATURES) or _NETPBM.match(head):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    return _is_bitmap_header(head[14:]) if head[:2] == b"BM" else _is_bitmap_header(head)


def name_unsupported_format(head: bytes) -> str:
    """Returns the name of the unsupported image format of a file that begins with these bytes, '' for none."""
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4], "big")]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        return "HEIC" if _HEIC_BRANDS.match(brands) else ""
    if b"<svg" in head:
        return "SVG"
    return next((name for prefix, name in _UNSUPPORTED_SIGNATURES if head.startswith(prefix)), "")


def _is_bitmap_header(header: bytes) -> bool:
    """Returns whether these bytes begin with the header of a bitmap: its length, width, height and one plane."""
    size = int.from_bytes(header[:4], "little")
    planes = header[8:10] if size == 12 else header[12:14]
    return size in (12, *_INFO_SIZES) and planes == b"\1\0"


def _read_head(path: Path) -> bytes:
    """Returns the first bytes of a file, none if it cannot be read or is no regular file."""
    try:
        with regular_files.open_regular_file(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
