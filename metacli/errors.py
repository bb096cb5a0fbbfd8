"""The one exception that the command line expects, and how its messages list names."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LISTED = 10  # names that a message lists


def list_some(names: Sequence[object]) -> str:
    """Returns names as in `a, b, c and 12 more`: the first MAX_LISTED, and the number of the others."""
    listed, more = ", ".join(map(str, names[:MAX_LISTED])), len(names) - MAX_LISTED
    return f"{listed} and {more:,} more" if more > 0 else listed


def cut_lines(lines: Sequence[str]) -> list[str]:
    """Returns the first MAX_LISTED lines, and one with the number of the others."""
    more = len(lines) - MAX_LISTED
    return [*lines[:MAX_LISTED], *([f"and {more:,} more"] if more > 0 else [])]


class MetacliError(Exception):
    """A failure that the user can do something about.

    A string is printed as one line, even if a name in it contains line breaks. A list is printed as several lines.

    Args:
        message: what went wrong, one line or a list of lines.
        hint: what to try next, in the same form. Empty for no hint.
        code: exit status, 1 for a run that failed, 2 for wrong usage or a wrong recipe.

    Attributes:
        message: the lines of the message as one string.
        hint: the lines of the hint as one string.
        lines: the printed lines. `error:` precedes the message and `hint:` the hint.
    """

    def __init__(self, message: str | Sequence[str], hint: str | Sequence[str] = "", code: int = 1):
        message_lines, hint_lines = ([text] if isinstance(text, str) else list(text) for text in (message, hint))
        self.message, self.hint, self.code = "\n".join(message_lines), "\n".join(hint_lines), code
        self.lines = [f"error: {message_lines[0]}", *message_lines[1:]]
        self.lines += [f"hint: {hint_lines[0]}", *hint_lines[1:]] if self.hint else []
        super().__init__(self.message)


class UsageError(MetacliError):
    """Wrong usage or a wrong recipe: exit status 2."""

    def __init__(self, message: str | Sequence[str], hint: str | Sequence[str] = ""):
        super().__init__(message, hint, code=2)


class ReportedElsewhereError(MetacliError):
    """A failure that another process of the same training reports. This process exits silently.

    Args:
        code: exit status.
    """

    def __init__(self, code: int):
        super().__init__("reported by another process", code=code)
