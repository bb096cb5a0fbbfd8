"""Read regular files only, never a pipe, which may block, or a device, which may be endless."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_regular_file(path: str | os.PathLike[str], max_bytes: int | None = None) -> BinaryIO:
    """Open a regular file to read it. Links are followed.

    The path is checked before it is opened, because opening some devices has effects. The open file is checked again,
    because something else may have taken its place. Opening never blocks.

    Args:
        path: the file.
        max_bytes: the largest size allowed, None for any.

    Raises:
        OSError: there is no file, it is of another kind or too large, or it cannot be read.
    """
    check_regular(os.stat(path), max_bytes)
    descriptor = os.open(path, _FLAGS)
    try:
        check_regular(os.fstat(descriptor), max_bytes)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular_file(path: str | os.PathLike[str], max_bytes: int | None = None) -> bytes:
    """Returns the bytes of a regular file. Arguments and errors are those of `open_regular_file`."""
    with open_regular_file(path, max_bytes) as file:
        data = file.read(-1 if max_bytes is None else max_bytes + 1)
    if max_bytes is not None and len(data) > max_bytes:  # the file has grown
        raise _too_large(max_bytes)
    return data


def check_regular(status: os.stat_result, max_bytes: int | None = None) -> None:
    """Check that a file is a regular one, and not too large.

    Args:
        status: from `os.stat` or `os.fstat`.
        max_bytes: the largest size allowed, None for any.

    Raises:
        OSError: it is of another kind or too large.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {max_bytes:,} bytes")
