"""The errors of the server, one line each on stderr. Repeated errors are counted: any local program may cause many."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metacli.system import terminal

PERIOD = 10.0  # seconds until a message is printed again
_LOGGERS = ("uvicorn", "asyncio")


class LineHandler(logging.Handler):
    """Prints each error with the last line of its traceback. Repetitions within PERIOD are counted instead."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._printed: dict[object, float] = {}  # by the kind of message
        self._repetitions: dict[object, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print an error, or count it."""
        kind, now = (str(record.msg).split("\n")[0], record.exc_info and record.exc_info[0]), time.monotonic()
        if kind in self._printed and now < self._printed[kind] + PERIOD:
            self._repetitions[kind] = self._repetitions.get(kind, 0) + 1
            return
        self._printed[kind] = now
        count = self._repetitions.pop(kind, 0)
        line = f"server  {_format_line(record)}"
        terminal.print_to_stderr(f"{line} ({count:,} more like it)" if count else line)


@contextmanager
def print_server_messages() -> Iterator[None]:
    """In the block, errors of uvicorn and asyncio are printed by a LineHandler."""
    handler = LineHandler()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _format_line(record: logging.LogRecord) -> str:
    """Returns the first line of a message, and of its error the type, the text and the last line of code of metacli."""
    line = record.getMessage().strip().split("\n")[0]
    if not record.exc_info or (error := record.exc_info[1]) is None:
        return line
    places = [f for f in traceback.extract_tb(error.__traceback__) if "metacli" in Path(f.filename).parts]
    place = f" ({Path(places[-1].filename).name}:{places[-1].lineno})" if places else ""
    return f"{line}: {type(error).__name__}: {error}{place}"
