"""Open the files of a run directory: regular files of a bounded size, nothing else."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from metacli.errors import MetacliError
from metacli.system import files, regular_files

MAX_BYTES = 2**28
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
_HINT = "move it away, or restore the file"


def read(path: Path, hint: str = _HINT) -> bytes | None:
    """Returns the content of a file, None if nothing is at this path.

    Raises:
        MetacliError: it is a broken link, not a regular file, larger than MAX_BYTES, or cannot be read.
    """
    try:
        os.lstat(path)  # os.path.lexists would take a disk that fails for a missing file
    except ValueError:  # a NUL in the name
        return None
    except OSError as error:
        if error.errno in _MISSING:
            return None
        raise MetacliError(f"cannot read {path}: {error.strerror or error}", hint) from None
    try:
        return regular_files.read_regular_file(path, MAX_BYTES)
    except OSError as error:
        raise MetacliError(f"cannot read {path}: {error.strerror or error}", hint) from None


def read_json(path: Path, hint: str = _HINT) -> dict[str, Any] | None:
    """Returns the JSON object in a file, None if nothing is at this path.

    Raises:
        MetacliError: as `read`, or it holds no JSON object, or one that is nested too deep.
    """
    if (content := read(path, hint)) is None:
        return None
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MetacliError(f"{path}: damaged: not a JSON object", hint)
    return value


def write(path: Path, content: str, hint: str) -> None:
    """Write a file as `files.write` does, but never to a pipe, which would wait for a reader, or to a device.

    Raises:
        MetacliError: it cannot be written, or what is at this path is not a regular file.
    """
    check_writable(path)
    files.write(path, content, hint)


def check_writable(*paths: Path) -> None:
    """Check that each path is a regular file, or a link to one, or does not exist.

    Raises:
        MetacliError: one is something else. Names the first.
    """
    for path in paths:
        try:
            if os.path.lexists(path):
                regular_files.check_regular(os.stat(path))
        except OSError as error:
            raise MetacliError(files.describe_write_error(path, error, None), _HINT) from None
