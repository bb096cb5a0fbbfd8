"""Finds or downloads Omniglot, checks it, and packs it into arrays.

The variable METACLI_DATA names a folder that contains the data, METACLI_MIRROR an address to download it from.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from PIL import Image
from tqdm import tqdm

from metacli.errors import MetacliError, UsageError
from metacli.system import cache, download, operating_system, regular_files, terminal
from metacli.tasks.images import omniglot_identity
from metacli.tasks.images.pixel_digests import picture_digest, to_digest_array
from metacli.tasks.images.preprocess import prepare as prepared
from metacli.tasks.images.preprocess.decode import read_image

VERSION = 3  # of the cache; increase it when any array changes
DRAWINGS = 20  # drawings of each character, one by each person
PIXELS = 105  # height and width of a drawing
OFFICIAL_URL = "https://github.com/brendenlake/omniglot/raw/master/python"
MAX_ARCHIVE_BYTES = 100_000_000  # limit of a zip file and of its content, more than ten times the official size
MAX_DRAWING_BYTES = 100_000  # limit of the file of a drawing, which has about 300 bytes
MAX_FILES = 100_000  # limit of PNG files in a folder; the larger official one has 19,280
SOURCE_DIGITS = 16  # hexadecimal digits of the source's digest in the name of the cache file
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods may allocate gigabytes of memory


@dataclass(frozen=True)
class Archive:
    """One of the two official parts of Omniglot.

    Attributes:
        name: name of the folder inside, and of the file without .zip.
        md5: MD5 of the official download.
        alphabets: number of alphabets.
        characters: number of characters, each drawn 20 times.
    """

    name: str
    md5: str
    alphabets: int
    characters: int

    @property
    def url(self) -> str:
        """The address of the download: the official one, or a file at METACLI_MIRROR."""
        return f"{(os.environ.get('METACLI_MIRROR') or OFFICIAL_URL).rstrip('/')}/{self.name}.zip"


ARCHIVES = (
    Archive("images_background", "68d2efa1b9178cc56df9314c21c6e718", 30, 964),
    Archive("images_evaluation", "6b91aef0f799c5bb55b94e3f2daec811", 20, 659),
)

_HINT = (
    "set METACLI_DATA to a folder with images_background.zip and images_evaluation.zip (or the folders inside them), "
    f"downloaded by hand from {OFFICIAL_URL}/{ARCHIVES[0].name}.zip and {OFFICIAL_URL}/{ARCHIVES[1].name}.zip; "
    "or set METACLI_MIRROR to the address of a folder with both files; "
    "or use a strokes_* recipe, which needs no download"
)


def data_dir() -> Path | None:
    """Returns the folder that METACLI_DATA names, or None if it is not set.

    Raises:
        MetacliError: METACLI_DATA does not name a folder.
    """
    if not (value := os.environ.get("METACLI_DATA")):
        return None
    if not os.path.isdir(folder := operating_system.expand_home(value)):
        raise UsageError(f"METACLI_DATA is {value}, which is not a folder", _HINT)
    return folder


def omniglot(size: int, prepare: bool = False) -> dict[str, np.ndarray]:
    """Returns all of Omniglot, from the cache, from METACLI_DATA or from the network.

    Drawings are resized with the Lanczos filter, as in MAML's public code and in most later work.

    Args:
        size: height and width in pixels.
        prepare: see `metacli.tasks.images.preprocess.prepare`.

    Returns:
        `images` (1623, 20, size, size) uint8, ink 255 on paper 0; `digests` (1623, 20) bytes, see `pixel_digests`;
        `names` (1623,) `Alphabet/characterNN`, the 964 background classes before the 659 evaluation classes, each part
        in the order of the names.

    Raises:
        MetacliError: the data cannot be found, downloaded or verified.
    """
    folder = data_dir()  # an invalid METACLI_DATA is an error even if the data are cached
    kind, source = f"prepared{prepared.VERSION}" if prepare else "lanczos", _source_digest(folder)

    def pack() -> dict[str, np.ndarray]:
        arrays = _pack(folder, size, prepare)
        if _source_digest(folder) != source:
            raise MetacliError(f"the data in {folder} changed while they were read", "try again")
        return arrays

    arrays = cache.load_or_make(f"omniglot-{VERSION}-{kind}-{size}-{source}", pack)
    if difference := omniglot_identity.compare_with_official(arrays):
        where = f" in {folder}" if folder else ""
        terminal.print_to_stderr(f"note: the Omniglot data{where} are not the official data: {difference}")
    return arrays


def _source_digest(folder: Path | None) -> str:
    """Returns a digest of the source of the data, which the name of the cache file contains.

    It covers the content of zip files, and the name, size and times of every unpacked drawing: reading 32,460 files
    would take seconds. A download always has the official MD5, so it is not read again.

    Args:
        folder: the folder of METACLI_DATA, None for downloads.
    """
    if folder is None:
        parts = [archive.md5.encode() for archive in ARCHIVES]
    else:
        parts = [_digest_of_part(_find_in_folder(archive, folder)) for archive in ARCHIVES]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:SOURCE_DIGITS]


def _digest_of_part(path: Path) -> bytes:
    try:
        return omniglot_identity.digest_of_source(path, MAX_ARCHIVE_BYTES)
    except OSError as error:
        raise MetacliError(f"cannot read {error.filename or path}: {error.strerror or error}", _HINT) from error


def _pack(folder: Path | None, size: int, prepare: bool) -> dict[str, np.ndarray]:
    images, digests, names = [], [], []
    for archive in ARCHIVES:
        drawings = _read_drawings(archive, folder)
        for character in tqdm(sorted(drawings), desc=f"pack {archive.name}", file=terminal.stderr(), disable=None):
            files = sorted(drawings[character].items())
            sheets = [_sheet(data, f"{archive.name}/{character}/{name}") for name, data in files]
            drawn = prepared.normalize_characters(sheets, size) if prepare else [_ink(sheet, size) for sheet in sheets]
            images.append(drawn)
            digests.append(to_digest_array([picture_digest(sheet) for sheet in sheets]))
            names.append(character)
    return {"images": np.array(images, np.uint8), "digests": np.array(digests), "names": np.array(names)}


def _sheet(data: bytes, name: str) -> Image.Image:
    """Decodes a drawing and checks its size."""
    image = read_image(io.BytesIO(data), name, _HINT)
    if image.size != (PIXELS, PIXELS):
        raise MetacliError(f"{name} has {image.width} x {image.height} pixels, not {PIXELS} x {PIXELS}", _HINT)
    return image.convert("L")


def _ink(sheet: Image.Image, size: int) -> np.ndarray:
    """Returns (size, size) uint8, ink 255 on paper 0."""
    return 255 - np.asarray(sheet.resize((size, size), Image.Resampling.LANCZOS))


def _read_drawings(archive: Archive, folder: Path | None) -> dict[str, dict[str, bytes]]:
    """Returns the content of an archive's PNG files by character and file name; checks their number."""
    source = _find_source(archive, folder)
    files = _iterate_folder(source) if isinstance(source, Path) and source.is_dir() else _iterate_zip(source, archive)
    drawings: dict[str, dict[str, bytes]] = {}
    for path, data in files:
        drawings.setdefault("/".join(path.parts[1:3]), {})[path.name] = data
    alphabets = len({character.split("/")[0] for character in drawings})
    wrong_counts = [f"; {c} has {len(d)} drawings" for c, d in sorted(drawings.items()) if len(d) != DRAWINGS]
    if (alphabets, len(drawings)) != (archive.alphabets, archive.characters) or wrong_counts:
        raise MetacliError(
            f"{source if isinstance(source, Path) else archive.url}: expected {archive.alphabets} alphabets and "
            f"{archive.characters} characters with {DRAWINGS} drawings each, {archive.name}/ALPHABET/CHARACTER/*.png; "
            f"found {alphabets} and {len(drawings)}{wrong_counts[0] if wrong_counts else ''}",
            _HINT,
        )
    return drawings


def _find_source(archive: Archive, folder: Path | None) -> Path | IO[bytes]:
    """Finds an archive: in `folder` if given, otherwise in the cache, otherwise on the network."""
    if folder is None:
        cached_path = cache.directory() / f"{archive.name}.zip"
        return cached_path if _is_official(cached_path, archive) else io.BytesIO(_download(archive, cached_path))
    return _find_in_folder(archive, folder)


def _is_official(path: Path, archive: Archive) -> bool:
    """Returns whether a file exists and has the MD5 of an archive."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == archive.md5


def _find_in_folder(archive: Archive, folder: Path) -> Path:
    """Returns the zip file or the folder of an archive in the folder of METACLI_DATA."""
    for path in (folder / f"{archive.name}.zip", folder / archive.name):
        if os.path.exists(path):
            return path
    raise UsageError(f"METACLI_DATA is {folder}, which contains neither {archive.name}.zip nor {archive.name}/", _HINT)


def _iterate_folder(root: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields the drawings below a folder."""
    for number, path in enumerate(root.rglob("*.png")):
        if number >= MAX_FILES:
            raise MetacliError(f"{root} contains more than {MAX_FILES:,} PNG files", _HINT)
        inner_path = PurePosixPath(root.name, *path.relative_to(root).parts)
        if _is_drawing(inner_path, root.name):
            try:
                yield inner_path, regular_files.read_regular_file(path, MAX_DRAWING_BYTES)
            except OSError as error:
                raise MetacliError(f"cannot read {path}: {error.strerror or error}", _HINT) from error


def _iterate_zip(source: Path | IO[bytes], archive: Archive) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields the drawings in a zip file without unpacking anything else."""
    source_name = source if isinstance(source, Path) else archive.url
    try:
        with ExitStack() as stack:
            stream = source
            if isinstance(source, Path):
                stream = stack.enter_context(regular_files.open_regular_file(source, MAX_ARCHIVE_BYTES))
            archive_file = stack.enter_context(zipfile.ZipFile(stream))
            remaining_bytes = MAX_ARCHIVE_BYTES
            for entry in archive_file.infolist():
                path = PurePosixPath(entry.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise MetacliError(f"{source_name} contains {entry.filename}, a path outside of its folder", _HINT)
                if not entry.is_dir() and _is_drawing(path, archive.name):
                    remaining_bytes -= entry.file_size  # zipfile never returns more bytes than this
                    if entry.file_size > MAX_DRAWING_BYTES or remaining_bytes < 0:
                        limits = f"a drawing has at most {MAX_DRAWING_BYTES:,} bytes, all of them {MAX_ARCHIVE_BYTES:,}"
                        raise ValueError(f"{entry.filename} would unpack to {entry.file_size:,} bytes; {limits}")
                    if entry.compress_type not in COMPRESSIONS:
                        raise ValueError(f"{entry.filename} uses an unsupported compression method")
                    yield path, archive_file.read(entry)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"{source_name} is damaged or not a zip archive: {reason}"
        raise MetacliError(message, f"replace the file; or {_HINT}") from error


def _is_drawing(path: PurePosixPath, top: str) -> bool:
    """Whether a path is TOP/ALPHABET/CHARACTER/*.png."""
    return len(path.parts) == 4 and path.parts[0] == top and path.suffix == ".png"


def _download(archive: Archive, cached_path: Path) -> bytes:
    """Downloads an archive, checks its MD5, and saves it as `cached_path`."""
    terminal.print_to_stderr(f"downloading {archive.url}")
    data = download.fetch(archive.url, archive.md5, MAX_ARCHIVE_BYTES, _HINT)
    cache.store(cached_path, data)
    return data
