"""Report a result that cannot be written to stdout, on a full disk for example, as an expected error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from metacli.errors import MetacliError
from metacli.system import operating_system


@contextmanager
def report_write_failures() -> Iterator[None]:
    """Flush stdout at the end of the block, and report a failure to write it.

    Raises:
        MetacliError: stdout cannot be written. If the block itself has failed, its error is raised instead.
        BrokenPipeError: the reader has closed the pipe.
    """
    previous = sys.stdout
    if previous is None:  # closed, as by >&-
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_ClosedFile(os.devnull, "wb")), encoding="utf-8")
    elif not isinstance(previous, io.TextIOWrapper) or previous is not sys.__stdout__ or previous.isatty():
        yield  # a test captures it, or it is a terminal, which cannot be full
        return
    else:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_ReportingFile(previous.fileno(), "wb", closefd=False)),
            encoding=previous.encoding,
            errors=previous.errors,
            line_buffering=previous.line_buffering,
            write_through=previous.write_through,
        )
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


class _ClosedFile(io.FileIO):
    """A stand-in for a stdout that is closed. Raises a MetacliError at the first write, and discards the rest."""

    reported = False

    def write(self, content: Any) -> int:
        """Write nothing."""
        if not self.reported:
            self.reported = True
            raise MetacliError("cannot write the result to stdout: it is closed", "redirect stdout to a file")
        return super().write(content)


class _ReportingFile(io.FileIO):
    """stdout without buffers, which raises a MetacliError if a write fails, and discards what is written after that."""

    def write(self, content: Any) -> int:
        """Write as any file does."""
        try:
            return super().write(content)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # or the write at interpreter exit would fail once more
            os.close(null)
            if operating_system.is_closed_pipe(error):
                raise
            hint = "redirect it to a disk with free space"
            raise MetacliError(f"cannot write the result to stdout: {error.strerror}", hint) from None
