"""The cache: downloads and arrays that cost time to make. METACLI_CACHE moves it."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from metacli.machine import system
from metacli.machine.files import atomic_write

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
        return system.passing_folder()
    return usual if usual.is_absolute() else system.passing_folder()


def arrays(name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What `make` returns, kept in the cache as NAME.npz and read from there the next time.

    A damaged file is made again. A cache that cannot be written costs a warning on stderr, nothing more.

    Args:
        name: must change with everything that the arrays depend on.
        make: returns arrays of numbers or strings, no objects.
    """
    path = folder() / f"{name}.npz"
    try:
        content = path.read_bytes()
        if _digest(memoryview(content)[:-DIGEST]) == content[-DIGEST:]:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        say(f"{path} is damaged, making it again")
    except FileNotFoundError:
        pass
    except OSError as error:
        say(f"cannot read {path} ({error.strerror or error}), making it again")
    made = make()
    packed = io.BytesIO()
    np.savez(packed, **made)  # type: ignore[arg-type]
    packed.seek(0, io.SEEK_END)
    packed.write(_digest(packed.getbuffer()))  # a zip may have something after its end
    keep(path, packed.getbuffer())
    return made


def keep(path: Path, content: bytes | memoryview) -> None:
    """Write a file of the cache, whole; where that fails, warn and go on without."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(content)
    except OSError as error:
        say(f"cannot keep {path} ({error.strerror or error}), going on without")


def say(message: str) -> None:
    """A message on stderr."""
    print(message, file=sys.stderr)


def _digest(content: memoryview) -> bytes:
    return hashlib.sha256(content).digest()
