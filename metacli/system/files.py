"""Write files completely or not at all, and report why writing failed.

Everything that metacli writes goes through `write` and `append`.
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

WRITE_HINT = "choose an existing folder with free space and write permission"
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.part")
_MAX_STEM = 40  # characters of a file's name in the name of its temporary file, whose length the system limits
Writer = Callable[[BinaryIO], object]
Content = bytes | memoryview | str | Writer


def write(path: str | Path, content: Content, hint: str = WRITE_HINT, new: bool = False) -> None:
    """Write a file through a temporary one beside it, synced and renamed: a crash leaves the old or the new file.

    Concurrent writers do not disturb each other. `remove_abandoned` removes the temporary files of killed writers. A
    pipe or a device is written to directly.

    Args:
        content: text is written as UTF-8. A function writes into the open file itself, which saves memory.
        hint: what to do if the file cannot be written.
        new: whether to raise a FileExistsError if the file exists.

    Raises:
        MetacliError: the file cannot be written. The message gives the reason and, on a full disk, the size of the
            content and the free space. An existing file is unchanged.
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
                buffer = io.BytesIO()
                content(buffer)
                content = buffer.getbuffer()
            path.write_bytes(content)
            return
        while not _write_through_temporary(path, content, new):
            pass
    except FileExistsError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        size = None if callable(content) else len(content)
        raise MetacliError(describe_write_error(path, error, size), hint) from None


def append(path: Path, text: str, hint: str = WRITE_HINT) -> None:
    """Add text to the end of a file, all of it or nothing. A crash may leave the first part of it.

    Raises:
        MetacliError: as `write`.
    """
    content = text.encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise MetacliError(describe_write_error(path, error, len(content)), hint) from None


def sync(path: Path) -> None:
    """Write a file or folder through to the disk, as far as the system supports it. Does nothing if there is none."""
    with contextlib.suppress(OSError):  # Windows opens no folders, some file systems sync none
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def is_temporary_name(name: str) -> bool:
    """Returns whether this is the name of a temporary file of `write`."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder, but none that is being written.

    A file is in use while its writer holds its lock. On a file system without locks, no file is removed.
    """
    with contextlib.suppress(OSError):  # a file that stays is ignored
        for path in [path for path in folder.iterdir() if is_temporary_name(path.name)]:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    is_abandoned = lock.try_lock(descriptor)
                    if is_abandoned and os.name != "nt":  # Windows removes no file that is open
                        path.unlink()
                finally:
                    os.close(descriptor)
                if is_abandoned and os.name == "nt":
                    path.unlink()


def describe_write_error(path: Path, error: OSError | ValueError, size: int | None) -> str:
    """Returns why `size` bytes, None for an unknown number, cannot be written to a path."""
    if not isinstance(error, OSError):
        return f"cannot write {str(path)!r}: {error}"
    message = f"cannot write {path}: {error.strerror or error}"
    if error.errno not in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG):
        return message
    if size is not None:
        message += f", {format_size(size)} to write"
    if error.errno == errno.ENOSPC:
        with contextlib.suppress(OSError):
            message += f", {format_size(shutil.disk_usage(path.parent).free)} free"
    return message


def format_size(count: int) -> str:
    """Returns a number of bytes as in `12.3 MB`."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{value:.3g} {unit}"


def _write_through_temporary(path: Path, content: bytes | memoryview | Writer, new: bool) -> bool:
    """Write a temporary file, locked meanwhile, and rename it. Returns False if another process removed it first."""
    temporary = path.with_name(f".{path.name[:_MAX_STEM]}.{secrets.token_hex(4)}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        if lock.try_lock(descriptor) is False or not _is_at(descriptor, temporary):
            return False
        if callable(content):
            with open(descriptor, "r+b", closefd=False) as file:
                content(file)
        else:
            _write_all(descriptor, content)
        os.fsync(descriptor)
        if os.name == "nt":  # Windows renames no file that is open
            os.close(descriptor)
            descriptor = -1
        _rename(temporary, path, new)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Returns whether an open file is the one at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _rename(temporary: Path, path: Path, new: bool) -> None:
    if new:
        try:
            return os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: a file that appears after this check is overwritten
            if path.exists():
                raise FileExistsError(errno.EEXIST, "it exists already") from None
    os.replace(temporary, path)


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    remainder = memoryview(content)
    while remainder:
        remainder = remainder[os.write(descriptor, remainder) :]
