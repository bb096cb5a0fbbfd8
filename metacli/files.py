"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.errors import MetacliError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to, renamed to `path` at the end of the block.

    Raises:
        MetacliError: the file cannot be written; what stood at `path` is untouched.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as e:
        hint = "name a file in a folder that exists and that you may write to, with room left"
        raise MetacliError(f"cannot write {path}: {e.strerror or e}", hint) from None
