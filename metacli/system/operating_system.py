"""What one operating system has and another has not, each with what is done without it.

No other module asks which system this is, but for two that read the system's own files: `processor` and `peak`.
"""

from __future__ import annotations

import atexit
import errno
import os
import re
import shutil
import signal
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

LONGEST_NAME = 100  # characters of a name that becomes a folder's
LONGEST_FILE_NAME = 255  # bytes of it, on nearly every file system
_REFUSED = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"/\\|?*]|^\.|[. ]$')  # \ud800 on: bytes that are no UTF-8
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\..*)?", re.I)
_EXCLUSIVE = "SO_EXCLUSIVEADDRUSE"  # of Windows


def names_folder(name: str) -> bool:
    """Whether a name leads nowhere else and can be that of a folder on Linux, macOS and Windows alike."""
    if not 0 < len(name) <= LONGEST_NAME or _REFUSED.search(name):
        return False
    return len(name.encode()) <= LONGEST_FILE_NAME and not is_device(name)


def is_device(name: str) -> bool:
    """Whether Windows takes a file's or folder's name for a device's, as `con` and `NUL.txt`."""
    return _DEVICES.fullmatch(name) is not None


def at_home(path: str | os.PathLike[str]) -> Path:
    """A path with its `~` as the home folder; as it is where there is no such home, as `Path.expanduser` is not."""
    return Path(os.path.expanduser(path))


@cache
def session_temp_dir() -> Path:
    """A new folder of this process alone, which is gone at its end: for what belongs in a home folder, without one.

    Not a folder of a known name among everybody's temporary files: what others had put there would be believed.
    """
    path = Path(tempfile.mkdtemp(prefix="metacli-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a run to stop, of those that there are here.

    A lost connection sends SIGHUP, which is left alone where it is ignored, as under nohup; Windows has none, but
    SIGBREAK for Ctrl-Break.
    """
    asked = [signal.SIGINT, signal.SIGTERM]
    for name in ("SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            asked.append(number)
    return asked


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed for the next step; elsewhere nothing happens.

    By default every large tensor is mapped anew from the system, page by page: a third or more of the time of a
    training step with convolutions.
    """
    if (mallopt := _of_libc("mallopt")) is None:
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
    mallopt(m_mmap_threshold, 2**30)
    mallopt(m_trim_threshold, -1)  # never; a bound would let large steps give memory back and fetch it again
    mallopt(m_top_pad, 2**26)


def give_back_memory() -> None:
    """Return freed memory to the system, which training otherwise keeps for its next step; elsewhere nothing."""
    if (malloc_trim := _of_libc("malloc_trim")) is not None:
        malloc_trim(0)


def _of_libc(name: str) -> Any:
    """A function of the C library that this process runs on; None where it has none, as outside of glibc."""
    try:
        import ctypes

        return getattr(ctypes.CDLL(None), name)
    except (ImportError, OSError, AttributeError, TypeError):  # TypeError: Windows
        return None


def claim_port(listener: socket.socket) -> None:
    """Let a socket take a port that was just left, and none that is in use.

    On Windows SO_REUSEADDR would let another program listen at the same port; there an option forbids it.
    """
    option = getattr(socket, _EXCLUSIVE, socket.SO_REUSEADDR)
    listener.setsockopt(socket.SOL_SOCKET, option, 1)


def reader_gone(error: OSError) -> bool:
    """Whether an error says that nobody reads what this process prints any more; on Windows that is EINVAL."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)
