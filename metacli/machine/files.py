"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.errors import MetacliError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to, synced and renamed to `path` at the end of the block.

    A crash leaves the old file or the new one; writers side by side do each other no harm.

    Raises:
        OSError: the file cannot be written; what stood at `path` is untouched.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """`atomic_write`, for a path that the user has named.

    Raises:
        MetacliError: the file cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with atomic_write(path) as part:
            yield part
    except OSError as e:
        hint = "name a file in a folder that exists and that you may write to, with room left"
        raise MetacliError(f"cannot write {path}: {e.strerror or e}", hint) from None
