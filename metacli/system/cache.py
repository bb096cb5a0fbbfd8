"""The cache: downloads and arrays that cost time to make. METACLI_CACHE moves it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs

from metacli.errors import MetacliError
from metacli.system import files, operating_system, regular_files, terminal

PART = 1 << 20  # bytes that are read at a time
DIGEST = 32  # bytes of the SHA-256 at the end of a file of arrays


def folder() -> Path:
    """Where downloads and packed arrays are kept: METACLI_CACHE, else the user's cache directory.

    Who has no home folder, as in some containers, has none of these; then it is one of this process alone.
    """
    if named := os.environ.get("METACLI_CACHE"):
        return Path(named)
    try:
        usual = Path(platformdirs.user_cache_dir("metacli"))
    except RuntimeError:  # older versions of it give a path that begins with `~`
        return operating_system.session_temp_dir()
    return usual if usual.is_absolute() else operating_system.session_temp_dir()


def arrays(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `make` returns, kept in the cache as NAME.npz and read from there the next time.

    A damaged file is made again. A cache that cannot be written costs a warning on stderr, nothing more.

    Args:
        name: must change with everything that the arrays depend on.
        make: returns arrays of numbers or strings, no objects.
    """
    path = folder() / f"{name}.npz"
    try:
        with regular_files.opened(path) as file:
            if _is_whole(file):
                with np.load(file, allow_pickle=False) as kept:
                    return {key: kept[key] for key in kept.files}
        say(f"{path} is damaged, making it again")
    except FileNotFoundError:
        pass
    except OSError as error:
        say(f"cannot read {path} ({error.strerror or error}), making it again")
    made = make()
    keep(path, lambda file: _pack(file, made))
    return made


def keep(path: Path, content: files.Content) -> None:
    """Write a file of the cache, whole; where that fails, warn and go on without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe would be waited for
            say(f"cannot keep {path} (it is no file), going on without")
            return
        files.sweep(path.parent)
        files.write(path, content)
    except OSError as error:
        say(f"cannot make the folder {path.parent} ({error.strerror or error}), going on without")
    except MetacliError as error:
        say(f"{error.message}; going on without")


def _pack(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays and, behind them, the digest of the file before it: a zip may have something after its end."""
    np.savez(file, **arrays)  # type: ignore[arg-type]
    file.seek(0)
    end = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]
    file.write(end)


def _is_whole(file: BinaryIO) -> bool:
    """Whether a file ends with the digest of what is before; it is read from its beginning after that."""
    left, found = file.seek(0, os.SEEK_END) - DIGEST, hashlib.sha256()
    file.seek(0)
    while left > 0 and (part := file.read(min(PART, left))):
        found.update(part)
        left -= len(part)
    whole = left == 0 and found.digest() == file.read()
    file.seek(0)
    return whole


def say(message: str) -> None:
    """A message on stderr."""
    terminal.say(message)
