"""Files that are written whole or not at all, lines that are added whole, and what is said where that fails.

All that metacli writes goes through `write` and `append`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from metacli.errors import MetacliError
from metacli.system import lock

HINT = "name a file in a folder that exists and that you may write to, with room left"
_PART = re.compile(r"\..*\.[0-9a-f]{8}\.part")
Writer = Callable[[BinaryIO], object]
Content = bytes | memoryview | str | Writer
_LETTERS = 40  # of a file's name that its temporary one begins with, which may be no longer than the system allows


def write(path: str | Path, content: Content, hint: str = HINT, new: bool = False) -> None:
    """Write a file through a temporary one beside it, synced and renamed: a crash leaves the old file or the new one.

    Writers side by side do each other no harm. What a killed writer left is removed by `sweep`. A pipe or a device is
    written to as it is.

    Args:
        content: text is written as UTF-8; a function writes into the open file by itself, what would take much memory.
        hint: what to do where it cannot be written.
        new: whether what stands at `path` is to stay, as a FileExistsError.

    Raises:
        MetacliError: the file cannot be written, with the reason, and of a full disk how much there was to write and
            how much room there is; what stood at `path` is untouched.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    try:
        if new and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it exists already")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if path.exists() and not path.is_file():
            if callable(content):
                whole = io.BytesIO()
                content(whole)
                content = whole.getbuffer()
            path.write_bytes(content)
            return
        while not _written(path, content, new):
            pass
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        size = None if callable(content) else len(content)
        raise MetacliError(refusal(path, error, size), hint) from None


def append(path: Path, text: str, hint: str = HINT) -> None:
    """Add text to the end of a file, all of it or nothing; a crash may leave the first part of it.

    Raises:
        MetacliError: as `write`.
    """
    content = text.encode()
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.fstat(file).st_size
            try:
                _write_all(file, content)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise MetacliError(refusal(path, error, len(content)), hint) from None


def sync(path: Path) -> None:
    """Have what was written to a file or a folder on the disk, as far as the system does that; none: nothing."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some file systems sync none
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def is_part(name: str) -> bool:
    """Whether this is the name of a temporary file of `write`."""
    return _PART.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder, never what a living one is writing.

    Where the file system has no locks, nothing tells the two apart, and all stays.
    """
    with contextlib.suppress(OSError):  # what cannot be removed does no harm
        for path in [path for path in folder.iterdir() if is_part(path.name)]:
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    dead = lock.try_lock(file)
                    if dead and os.name != "nt":  # there no file that is open can be removed
                        path.unlink()
                finally:
                    os.close(file)
                if dead and os.name == "nt":
                    path.unlink()


def refusal(path: Path, error: OSError | ValueError, size: int | None) -> str:
    """Why `size` bytes, if it is known how many, cannot be written to a path, in words."""
    if not isinstance(error, OSError):
        return f"cannot write {str(path)!r}: {error}"
    message = f"cannot write {path}: {error.strerror or error}"
    if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG):
        return message
    if size is not None:
        message += f", {amount(size)} to write"
    if error.errno == errno.ENOSPC:
        with contextlib.suppress(OSError):
            message += f", {amount(shutil.disk_usage(path.parent).free)} free"
    return message


def amount(count: int) -> str:
    """Bytes as people read them, as in `12.3 MB`."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.3g} {unit}"


def _written(path: Path, content: bytes | memoryview | Writer, new: bool) -> bool:
    """Write to a temporary file, whose lock tells `sweep` that its writer lives, and rename it; False: swept away."""
    part = path.with_name(f".{path.name[:_LETTERS]}.{secrets.token_hex(4)}.part")
    file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if lock.try_lock(file) is False or not _is_at(file, part):
            return False
        if callable(content):
            with open(file, "r+b", closefd=False) as opened:
                content(opened)
        else:
            _write_all(file, content)
        os.fsync(file)
        if os.name == "nt":  # renames no file that is open
            os.close(file)
            file = -1
        _rename(part, path, new)
    finally:
        if file >= 0:
            os.close(file)
        part.unlink(missing_ok=True)
    sync(path.parent)
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _rename(part: Path, path: Path, new: bool) -> None:
    if new:
        try:
            return os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # no second names on this file system: what appears there from now on would be lost
            if path.exists():
                raise FileExistsError(errno.EEXIST, "it exists already") from None
    os.replace(part, path)


def _write_all(file: int, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
