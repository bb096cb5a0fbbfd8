"""Files that are only read if they are files: never a pipe that would be waited for, nor a device without an end."""

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


def opened(path: str | os.PathLike[str], most: int | None = None) -> BinaryIO:
    """A regular file, open to be read; links are followed.

    It is looked at before it is opened, as to open some devices is to use them, and again after, without waiting, as
    another thing may have taken its place.

    Args:
        path: of the file.
        most: bytes that it may have; None: any number.

    Raises:
        OSError: there is none, it is of another kind or too large, or it cannot be read.
    """
    check_regular(os.stat(path), most)
    number = os.open(path, _FLAGS)
    try:
        check_regular(os.fstat(number), most)
        return open(number, "rb")
    except BaseException:
        os.close(number)
        raise


def content(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """The bytes of a regular file; see `opened`."""
    with opened(path, most) as file:
        data = file.read(-1 if most is None else most + 1)
    if most is not None and len(data) > most:  # it has grown
        raise _too_large(most)
    return data


def check_regular(status: os.stat_result, most: int | None = None) -> None:
    """Check that a file is a regular one, and not too large.

    Args:
        status: from `os.stat` or `os.fstat`.
        most: bytes that it may have; None: any number.

    Raises:
        OSError: it is of another kind or too large.
    """
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    if most is not None and status.st_size > most:
        raise _too_large(most)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {most:,} bytes")
