"""Files that an output option such as `--png` names: which of them may be written, and how a later call knows them.

`check_output` refuses, before any work, a file that metacli did not write. `write_output` writes one. The mark is part
of the file's own metadata, where its format has any.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from metacli.errors import UsageError
from metacli.system import files, regular_files

GENERATOR = "metacli"
_HEAD, _TAIL = 4096, len(GENERATOR)  # bytes of a file that may hold its mark
_MARKS = {  # of a file's first and last bytes, by suffix
    ".png": re.compile(rb"\x89PNG\r\n\x1a\n.*tEXtSoftware\0metacli", re.DOTALL),
    ".html": re.compile(rb'<!doctype html>.*<meta name="generator" content="metacli">', re.DOTALL),
    ".json": re.compile(rb'\{"about": \{"generator": "metacli"'),
    ".npz": re.compile(rb"PK.*metacli\Z", re.DOTALL),  # the comment of the archive
    ".csv": re.compile(
        rb"query,label,probability,unsure,resemblance,most_attended,|run,recipe,seed,split,step,metric,"
    ),  # the columns
}
SUFFIXES = tuple(_MARKS)


def check_output(path: Path, suffix: str, option: str, force: bool = False) -> None:
    """Check that a file can be written without a loss. A pipe or a device always can.

    Args:
        path: the file.
        suffix: the one that its name must have, one of `SUFFIXES`.
        option: the option that names it, for messages.
        force: whether it may replace a file that metacli did not write.

    Raises:
        UsageError: it is a folder, its folder does not exist or cannot be written, its name has another suffix, or it
            exists and metacli did not write it.
    """
    try:
        status = _status(path)
        if status and stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{option} {path} is a folder", f"name a file in it: {option} {path / f'x{suffix}'}")
        if status and not stat.S_ISREG(status.st_mode):
            return
        if path.suffix.lower() != suffix:
            raise UsageError(f"{option} {path} does not end in {suffix}", f"{option} {path.with_suffix(suffix)}")
        if not (folder := _follow(path).parent).is_dir():
            raise UsageError(f"{option} {path}: there is no folder {folder}", f"mkdir -p {folder}")
        if status and status.st_size and not force and not _has_mark(path, suffix):
            hint = "name another file, or overwrite this one with --force"
            raise UsageError(f"{option} {path} exists, and metacli did not write it", hint)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(files.describe_write_error(path, error, None), files.WRITE_HINT) from None


def check_no_input(path: Path, option: str, pictures: Iterable[Path] = (), class_root: Path | None = None) -> None:
    """Check that a picture replaces none that the command reads, and lies in no folder that the next call would read.

    Args:
        path: the picture to write.
        option: the option that names it, for messages.
        pictures: pictures, and folders of pictures.
        class_root: a folder with a directory of pictures for each class. What lies beside these is not read.

    Raises:
        UsageError: it is one of these pictures, or lies in one of these folders.
    """
    target = Path(os.path.realpath(path))
    folders = [(source, [target, *target.parents]) for source in pictures]
    folders += [(class_root, list(target.parent.parents))] if class_root else []
    for source, places in folders:
        if (real := Path(os.path.realpath(source))) in places:
            place = "is a picture" if real == target else f"would lie among the pictures of {source}"
            raise UsageError(f"{option} {path} {place} that this command reads", "name a file in another folder")


def write_output(path: str | Path, content: files.Content) -> None:
    """Write a file that an output option names, see `files.write`. A link keeps pointing to the file.

    Raises:
        MetacliError: it cannot be written.
    """
    is_special = os.path.exists(path) and not os.path.isfile(path)
    files.write(path if is_special else _follow(path), content)


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays in NumPy's npz format. The arguments and errors are those of `write_output`."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(packed, "a") as archive:
        archive.comment = GENERATOR.encode()
    write_output(path, packed.getbuffer())


def _follow(path: str | Path) -> Path:
    """Returns what a link finally points to, another path as it is."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _status(path: Path) -> os.stat_result | None:
    """Returns the status of a file, links followed; None if there is none."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _has_mark(path: Path, suffix: str) -> bool:
    with regular_files.open_regular_file(path) as file:
        head = file.read(_HEAD)
        file.seek(-min(_TAIL, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return _MARKS[suffix].match(head + file.read()) is not None
