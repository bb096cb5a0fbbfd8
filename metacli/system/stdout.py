"""A result that cannot be written, on a full disk say, is an expected failure, whenever it shows."""

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
def written() -> Iterator[None]:
    """All that the block prints is on its way when it ends.

    Raises:
        MetacliError: stdout cannot be written. Where the block itself has failed, that is raised instead.
        BrokenPipeError: nobody reads it.
    """
    before = sys.stdout
    if not isinstance(before, io.TextIOWrapper) or before is not sys.__stdout__ or before.isatty():
        yield  # none was given, a test reads it, or a terminal, which has always room
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Told(before.fileno(), "wb", closefd=False)),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=before.line_buffering,
        write_through=before.write_through,
    )
    try:
        yield
    except SystemExit:  # a success as well
        sys.stdout.flush()
        raise
    except BaseException:
        with suppress(MetacliError, BrokenPipeError):
            sys.stdout.flush()
        raise
    else:
        sys.stdout.flush()
    finally:
        sys.stdout = before


class _Told(io.FileIO):
    """stdout without its buffers, which tells of a failure as a MetacliError, and after one writes to nowhere."""

    def write(self, content: Any) -> int:
        """As any file."""
        try:
            return super().write(content)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # or the interpreter's end would fail once more
            os.close(nowhere)
            if operating_system.reader_gone(error):
                raise
            hint = "send it where there is room"
            raise MetacliError(f"cannot write the result to stdout: {error.strerror}", hint) from None
