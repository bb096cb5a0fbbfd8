"""A lock that ends with the process that holds it, however that ends, held through an open file.

`flock` where there is one, byte-range locking on Windows; with neither, or on a file system that has no locks (some
network ones), there is none, and the caller is told.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import weakref
from pathlib import Path

from metacli.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # all others
    msvcrt = None  # type: ignore[assignment]

_FAR = 2**30  # the byte that Windows locks, far behind the holder's name, which others may read
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
_LONGEST = 300  # bytes of a holder's name


def grab(file: int) -> bool | None:
    """Lock an open file, without waiting, until it is closed: whether that was done; None where there are no locks.

    Args:
        file: its descriptor, open for writing.
    """
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            place = os.lseek(file, 0, os.SEEK_CUR)
            os.lseek(file, _FAR, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(file, place, os.SEEK_SET)
        else:
            return None
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True


class Lock:
    """The lock of a folder, on its file `.lock`, which is gone once it is given back.

    Children do not hold it: a new program does not inherit the file, and a forked process closes it.

    Args:
        folder: one that exists.

    Attributes:
        works: whether there are locks here; without, nobody is kept out.

    Raises:
        UsageError: somebody holds it, this process included; names it by its number and host where they are known.
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path):
        self._path = folder / ".lock"
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
            locked = grab(file)
            if locked is False:
                holder = _holder(file)
                os.close(file)
                raise UsageError(f"{folder} is in use{holder}", "wait for its end, or stop it: a run has one process")
            if is_at(file, self._path):
                break
            os.close(file)  # its holder has just given it back, and taken the file away
        self._file: int | None = file
        self.works = bool(locked)
        with contextlib.suppress(OSError):  # a full disk: it is held without a name
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        _held.add(self)

    def release(self) -> None:
        """Give it back; more than once does no harm."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                self._path.unlink()
            self.close()

    def close(self) -> None:
        """Close this process's share; in a forked one that leaves the lock to its holder."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


_held: weakref.WeakSet[Lock] = weakref.WeakSet()


def _close_all() -> None:
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one at this path."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    """` by process N on HOST`, as its holder wrote it; empty where that cannot be read."""
    try:
        os.lseek(file, 0, os.SEEK_SET)
        words = os.read(file, _LONGEST).decode().split()
    except (OSError, UnicodeDecodeError):
        return ""
    known = len(words) == 4 and words[::2] == ["process", "on"] and words[1].isdigit() and words[3].isprintable()
    return f" by {' '.join(words)}" if known else ""
