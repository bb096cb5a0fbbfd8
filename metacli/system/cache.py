"""The cache of downloads and of arrays that are slow to compute. METACLI_CACHE moves it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs

from metacli.errors import MetacliError
from metacli.system import files, operating_system, regular_files, terminal

CHUNK = 1 << 20  # bytes per read
DIGEST_BYTES = 32  # of the SHA-256 at the end of a file of arrays


def directory() -> Path:
    """Returns the folder of downloads and arrays: METACLI_CACHE, else the user's cache directory.

    Without a home folder, as in some containers, it is a temporary folder of this process.
    """
    if named := os.environ.get("METACLI_CACHE"):
        return operating_system.expand_home(named)
    try:
        usual = Path(platformdirs.user_cache_dir("metacli"))
    except RuntimeError:  # older versions of platformdirs return a path that begins with `~`
        return operating_system.session_temp_dir()
    return usual if usual.is_absolute() else operating_system.session_temp_dir()


def load_or_make(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the arrays in NAME.npz of the cache, or makes and stores them.

    A damaged file is created again. If the cache cannot be written, a warning is printed to stderr.

    Args:
        name: must change with everything that the arrays depend on.
        make: returns arrays of numbers or strings, no objects.
    """
    path = directory() / f"{name}.npz"
    try:
        with regular_files.open_regular_file(path) as file:
            if _is_complete(file):
                with np.load(file, allow_pickle=False) as stored:
                    return {key: stored[key] for key in stored.files}
        terminal.print_to_stderr(f"{path} is damaged, creating it again")
    except FileNotFoundError:
        pass
    except (OSError, zipfile.BadZipFile) as error:  # zipfile turns a failed read into the latter
        terminal.print_to_stderr(f"cannot read {path} ({getattr(error, 'strerror', '') or error}), creating it again")
    arrays = make()
    store(path, lambda file: _write_arrays(file, arrays))
    return arrays


def store(path: Path, content: files.Content) -> None:
    """Write a file of the cache, completely. If that fails, print a warning to stderr and continue."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a write to a pipe would wait for a reader
            terminal.print_to_stderr(f"cannot write {path}: it is not a file; continuing without it")
            return
        files.remove_abandoned(path.parent)
        files.write(path, content)
    except OSError as error:
        reason = error.strerror or error
        terminal.print_to_stderr(f"cannot create the folder {path.parent}: {reason}; continuing without it")
    except MetacliError as error:
        terminal.print_to_stderr(f"{error.message}; continuing without it")


def _write_arrays(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a zip file, then append the digest of its bytes, which zip readers ignore."""
    np.savez(file, **arrays)  # type: ignore[arg-type]
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    file.write(digest)


def _is_complete(file: BinaryIO) -> bool:
    """Returns whether a file ends with the digest of all bytes before it. Rewinds the file."""
    left, digest = file.seek(0, os.SEEK_END) - DIGEST_BYTES, hashlib.sha256()
    file.seek(0)
    while left > 0 and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    is_complete = left == 0 and digest.digest() == file.read()
    file.seek(0)
    return is_complete
