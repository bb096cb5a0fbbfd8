"""The error of a refused checkpoint, and the conversion to an error that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.errors import MetacliError

ANOTHER_COPY = "use another copy of the file or another checkpoint of the run; otherwise train again"


class RefusedError(ValueError):
    """A checkpoint is refused. The code that raises this error does not know the file's name.

    Args:
        message: why, one line or a list of lines.
        hint: what to try next.

    Attributes:
        lines: the message, line by line.
    """

    def __init__(self, message: str | list[str], hint: str = ""):
        self.lines = [message] if isinstance(message, str) else message
        self.hint = hint
        super().__init__(*self.lines)


@contextmanager
def name_file_in_errors(file: Path) -> Iterator[None]:
    """Turn a RefusedError of the block into a MetacliError that names the file."""
    try:
        yield
    except RefusedError as e:
        raise MetacliError([f"{file}: {e.lines[0]}", *e.lines[1:]], e.hint) from None
