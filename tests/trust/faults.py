"""What can happen to a process when it uses a file: it is killed, the file system is full, read-only or broken."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

BROKEN = ("broken once", "broken from then on")  # an I/O error, whatever the call
FAULTS = ("kill", "killed after", "killed halfway", "full", "filled", "read-only", *BROKEN)
_CALLS = ("open", "write", "fsync", "ftruncate", "replace", "link", "unlink", "mkdir", "rmdir")
_READS = ("read", "stat", "lstat", "scandir", "listdir")
_INSTALLATION = (sys.prefix, sys.base_prefix, str(Path(__file__).parent.parent.parent))
_NEEDS_ROOM = ("open", "write", "link", "mkdir")


class Faults:
    """Counts this process's calls that change a file, and lets the n-th one fail. With BROKEN, reading calls count too.

    Of "killed halfway", in the middle of what is written, only writes count. "filled" really fills the disk of the
    working directory. With "full" and "read-only" all calls from the n-th on find the file system in that state; what
    is already open for writing may still be written in a "read-only" one.

    Args:
        fault: one of FAULTS, or empty for none.
        at: the number of the call, from 1.

    Attributes:
        calls: so far.
    """

    def __init__(self, fault: str, at: int):
        assert not fault or fault in FAULTS
        self._fault, self._at, self.calls = fault, at, 0
        self._real: dict[str, Callable[..., Any]] = {}
        self._open = io.open

    def __enter__(self) -> Faults:
        if self._fault in BROKEN:
            for name in (*_CALLS, *_READS):
                self._real[name] = getattr(os, name)
                setattr(os, name, self._breaking(name))
            io.open = builtins.open = self._open_breaking  # type: ignore[assignment]
            return self
        for name in _CALLS:
            self._real[name] = getattr(os, name)
            setattr(os, name, self._call(name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
        io.open = builtins.open = self._open

    def _breaking(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count(args[0] if args else None)
            return real(*args, **kwargs)

        return call

    def count(self, file: Any) -> None:
        """Count a call, and raise an I/O error where it is time. The files of the installation do not count."""
        if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(_INSTALLATION):
            return
        self.calls += 1
        if self.calls == self._at or (0 < self._at < self.calls and self._fault == "broken from then on"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), file if isinstance(file, (str, os.PathLike)) else None)

    def _open_breaking(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        """`open`, of a file that counts its calls."""
        self.count(file)
        raw = _BreakingFile(file, mode.replace("b", "").replace("t", ""), closefd=closefd, opener=opener)
        raw.count = self.count
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
        buffer = kind(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

    def _call(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not args[1] & (os.O_WRONLY | os.O_RDWR):
                return real(*args, **kwargs)
            self.calls += name == "write" or self._fault != "killed halfway"
            if self._fault in ("full", "read-only") and self.calls >= self._at:
                self._refuse(name, real, args)
            if self.calls != self._at or self._fault in ("", "full", "read-only"):
                return real(*args, **kwargs)
            if self._fault == "filled":
                fill(Path(), self._real)
                return real(*args, **kwargs)
            if self._fault == "killed halfway":
                real(args[0], memoryview(args[1])[: len(args[1]) // 2])
            elif self._fault == "killed after":
                real(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        return call

    def _refuse(self, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Raise what the system would."""
        path = args[0] if isinstance(args[0], (str, os.PathLike)) else None
        if self._fault == "read-only":
            if name not in ("write", "fsync", "ftruncate"):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        elif name in _NEEDS_ROOM and not (name == "open" and os.path.exists(args[0])):
            if name == "write":  # a little fits in
                real(args[0], memoryview(args[1])[: len(args[1]) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


class _BreakingFile(io.FileIO):
    """A file whose reads and writes are counted. Only its opener knows its name."""

    count: Callable[[Any], None]

    def readinto(self, buffer: Any) -> int:
        self.count(self.name)
        return super().readinto(buffer)  # type: ignore[return-value]

    def readall(self) -> bytes:
        self.count(self.name)
        return super().readall()  # type: ignore[return-value]

    def write(self, content: Any) -> int:
        self.count(self.name)
        return super().write(content)  # type: ignore[return-value]


def fill(folder: Path, real: dict[str, Callable[..., Any]] | None = None) -> Path:
    """A file in a folder that takes all the room there is on its disk."""
    calls = real or {name: getattr(os, name) for name in ("open", "write")}
    path = folder / "filler"
    file = calls["open"](path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        for size in (65536, 512, 1):
            with contextlib.suppress(OSError):
                while True:
                    calls["write"](file, bytes(size))
    finally:
        os.close(file)
    return path
