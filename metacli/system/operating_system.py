"""Functions that only some operating systems provide, each with a replacement.

No other module checks which system this is, except `compute.cpu`, `memory` and `peak_memory`, which read its own files.
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

from metacli.errors import MetacliError

MAX_NAME_LENGTH = 100  # characters of a name that becomes the name of a folder
MAX_FILE_NAME_BYTES = 255  # on nearly every file system
_REFUSED = re.compile(r'[\x00-\x1f\x7f\ud800-\udfff<>:"/\\|?*]|^\.|[. ]$')  # \ud800 on: bytes that are no UTF-8
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\..*)?", re.I)
_HINTS = {
    errno.EMFILE: "allow this process more open files: ulimit -n 1024",
    errno.ENFILE: "close other programs: the system allows no more open files",
    errno.ENOSPC: "free some space on the disk",
}
_EXCLUSIVE = "SO_EXCLUSIVEADDRUSE"  # only Windows has this option


def is_portable_folder_name(name: str) -> bool:
    """Returns whether a name is a valid folder name on Linux, macOS and Windows, and not a path."""
    if not 0 < len(name) <= MAX_NAME_LENGTH or _REFUSED.search(name):
        return False
    return len(name.encode()) <= MAX_FILE_NAME_BYTES and not is_device_name(name)


def is_device_name(name: str) -> bool:
    """Returns whether Windows takes a file name for that of a device, such as `con` and `NUL.txt`."""
    return _DEVICES.fullmatch(name) is not None


def expand_home(path: str | os.PathLike[str]) -> Path:
    """Returns a path with `~` replaced by the home folder, unchanged where there is none.

    `Path.expanduser` raises an error there.
    """
    return Path(os.path.expanduser(path))


@cache
def session_temp_dir() -> Path:
    """Returns a temporary folder of this process, removed at its end: a replacement for a missing home folder.

    Its name is random. Other users could put files into a folder with a known name, and these would be trusted.
    """
    path = Path(tempfile.mkdtemp(prefix="metacli-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def stop_signals() -> list[signal.Signals]:
    """Returns the signals that ask a run to stop on this system.

    A lost connection sends SIGHUP. It stays ignored if it is ignored already, as under nohup. Windows has no SIGHUP
    but SIGBREAK, for Ctrl-Break.
    """
    signals = [signal.SIGINT, signal.SIGTERM]
    for name in ("SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signals.append(number)
    return signals


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for the next step. Does nothing on other systems.

    By default every large tensor is mapped anew from the system, page by page. That takes a third or more of the time
    of a training step with convolutions.
    """
    if (mallopt := _libc_function("mallopt")) is None:
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
    mallopt(m_mmap_threshold, 2**30)
    mallopt(m_trim_threshold, -1)  # never; with a bound, large steps would return memory and fetch it again
    mallopt(m_top_pad, 2**26)


def release_freed_memory() -> None:
    """Return freed memory, which training otherwise keeps, to the system. Does nothing on systems without glibc."""
    if (malloc_trim := _libc_function("malloc_trim")) is not None:
        malloc_trim(0)


def _libc_function(name: str) -> Any:
    """Returns a function of the C library of this process, None if it lacks it, as outside of glibc."""
    try:
        import ctypes

        return getattr(ctypes.CDLL(None), name)
    except (ImportError, OSError, AttributeError, TypeError):  # TypeError: Windows
        return None


def claim_port(listener: socket.socket) -> None:
    """Let a socket bind a port that was released just before, but none that is in use.

    On Windows SO_REUSEADDR would let another program listen on the same port, so an option forbids that there.
    """
    option = getattr(socket, _EXCLUSIVE, socket.SO_REUSEADDR)
    listener.setsockopt(socket.SOL_SOCKET, option, 1)


def explain_os_error(error: OSError) -> MetacliError:
    """Returns an error of the system that nothing closer has handled, such as a disk that fails, as an expected one."""
    names = [repr(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    reason = error.strerror or str(error) or type(error).__name__
    hint = _HINTS.get(error.errno or 0, "check the disk, the folder and their permissions, then repeat the command")
    return MetacliError(f"{' and '.join(names)}: {reason}" if names else f"the system reports: {reason}", hint)


def is_closed_pipe(error: OSError) -> bool:
    """Returns whether an error means that the reader of the output closed the pipe. On Windows it is an EINVAL."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)
