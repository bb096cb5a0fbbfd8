"""Locks (by filelock) that are released when the process that holds them ends, even if it is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from metacli.errors import UsageError
from metacli.system import regular_files

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)  # what a file system without locks answers
_LOCK_NAME = ".lock"
_LONGEST_HOLDER = 300  # bytes of the text that names the holder


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file without waiting, until it is closed. Returns None where the file system has no locks.

    Args:
        descriptor: of a file that is open for writing.
    """
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:
        return None


def is_held(directory: Path) -> bool:
    """Whether a process holds the `DirectoryLock` of a directory. False where that cannot be found out.

    A lock that nobody holds is taken for a moment, if its file was left behind.
    """
    try:
        descriptor = os.open(directory / _LOCK_NAME, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        return try_lock(descriptor) is False
    finally:
        os.close(descriptor)


class DirectoryLock:
    """The lock of a directory, on its file `.lock`, which `release` removes.

    Child processes do not hold it: a new program does not inherit the open file, and a forked process closes it.

    Args:
        directory: an existing one.

    Attributes:
        is_exclusive: False if the file system has no locks, so that other processes are not kept out.

    Raises:
        UsageError: this or another process holds the lock. The message names the process and host if they are known.
        OSError: the file cannot be created.
    """

    def __init__(self, directory: Path):
        self._path = directory / _LOCK_NAME
        self._lock = FileLock(
            self._path, blocking=False, thread_local=False, fallback_to_soft=False, on_acquired=_write_holder
        )
        try:
            self._lock.acquire()
        except Timeout:
            hint = "wait until it ends, or stop it; one training at a time can use a run directory"
            raise UsageError(f"{directory} is in use{_read_holder(self._path)}", hint) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            with contextlib.suppress(OSError):
                self._path.unlink()
        self.is_exclusive = self._lock.is_locked

    def release(self) -> None:
        """Release the lock. Safe to call twice."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # Windows removes no open file; there filelock removes it afterwards
                self._path.unlink()  # before the release: nobody else can hold the file at this path yet
            with contextlib.suppress(OSError):
                self._lock.release()


def _write_holder(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a full disk: the lock is held without a name
        os.ftruncate(descriptor, 0)
        # The space is for Windows, where nobody else can read the first byte of a locked file.
        os.write(descriptor, f" process {os.getpid()} on {socket.gethostname()}\n".encode())


def _read_holder(path: Path) -> str:
    """Returns ` by process N on HOST` as the holder wrote it, or "" if that cannot be read."""
    try:
        with regular_files.open_regular_file(path) as file:
            file.seek(1)
            words = file.read(_LONGEST_HOLDER).decode().split()
    except (OSError, UnicodeDecodeError):
        return ""
    is_known = len(words) == 4 and words[::2] == ["process", "on"] and words[1].isdigit() and words[3].isprintable()
    return f" by {' '.join(words)}" if is_known else ""
