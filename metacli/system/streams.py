"""Standard streams that are closed or cannot be written, on a full disk for example.

A result that cannot be written to stdout is an expected error. Messages that cannot be written to stderr are discarded:
they must not end a training run.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeGuard

from metacli.errors import MetacliError
from metacli.system import operating_system, terminal


def fill_closed_descriptors() -> None:
    """Open the null device as each of stdin, stdout and stderr that is closed, as by `2>&-`.

    The next file that is opened would get the free number otherwise, and what a library prints would be written into
    it. Call it before any file is opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the lowest number that is free is this one
            os.open(os.devnull, os.O_WRONLY if descriptor else os.O_RDONLY)


@contextmanager
def discard_lost_messages() -> Iterator[None]:
    """In the block, messages that cannot be written to stderr are discarded, as are all if stderr is closed."""
    previous = sys.stderr
    if previous is not None and not _is_file(previous, sys.__stderr__):
        yield
        return
    sys.stderr = terminal.Nowhere() if previous is None else _reopen(previous, _DiscardingFile)
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        sys.stderr = previous


@contextmanager
def report_lost_result() -> Iterator[None]:
    """Flush stdout at the end of the block, and report a failure to write it.

    Raises:
        MetacliError: stdout cannot be written. If the block itself has failed, its error is raised instead.
        BrokenPipeError: the reader has closed the pipe.
    """
    previous = sys.stdout
    if previous is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_ClosedFile(os.devnull, "wb")), encoding="utf-8")
    elif _is_file(previous, sys.__stdout__):
        sys.stdout = _reopen(previous, _ReportingFile)
    else:
        yield
        return
    try:
        yield
    except SystemExit:  # also raised on success
        sys.stdout.flush()
        raise
    except BaseException:
        with suppress(MetacliError, BrokenPipeError):
            sys.stdout.flush()
        raise
    else:
        sys.stdout.flush()
    finally:
        sys.stdout = previous


def _is_file(stream: Any, original: Any) -> TypeGuard[io.TextIOWrapper]:
    """Returns whether a stream is the process's own. A test or a notebook may have replaced it.

    The console of Windows is no file, and always takes what is written.
    """
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return False
    return isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO)


def _reopen(stream: io.TextIOWrapper, file_type: type[io.FileIO]) -> io.TextIOWrapper:
    """Returns a stream to the same file descriptor with the same settings, through another type of file."""
    return io.TextIOWrapper(
        io.BufferedWriter(file_type(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _redirect_to_null(descriptor: int) -> None:
    """Let a descriptor write to the null device, or the write at interpreter exit would fail once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


class _ClosedFile(io.FileIO):
    """A stand-in for a stdout that is closed. Raises a MetacliError at the first write, and discards the rest."""

    reported = False

    def write(self, content: Any) -> int:
        """Write nothing."""
        if not self.reported:
            self.reported = True
            raise MetacliError("cannot write the result to stdout: it is closed", "redirect stdout to a file")
        return super().write(content)


class _WaitingFile(io.FileIO):
    """A file without buffers. A write waits for the reader, also if another program made the pipe non-blocking."""

    def write(self, content: Any) -> int:
        """Write as any file does."""
        while (count := super().write(content)) is None:
            select.select([], [self], [])
        return count


class _ReportingFile(_WaitingFile):
    """stdout, which raises a MetacliError if a write fails, and discards what is written after that."""

    def write(self, content: Any) -> int:
        """Write, or report why not."""
        try:
            return super().write(content)
        except OSError as error:
            _redirect_to_null(self.fileno())
            if operating_system.is_closed_pipe(error):
                raise
            hint = "redirect it to a disk with free space"
            raise MetacliError(f"cannot write the result to stdout: {error.strerror}", hint) from None


class _DiscardingFile(_WaitingFile):
    """stderr, which discards what is written after a write has failed."""

    def write(self, content: Any) -> int:
        """Write, or discard."""
        try:
            return super().write(content)
        except OSError:
            _redirect_to_null(self.fileno())
            return len(content)
