"""The one exception that the command line expects."""

from __future__ import annotations


class MetacliError(Exception):
    """A failure that the user can do something about.

    Args:
        message: what went wrong, one or more lines.
        hint: what to try next; empty if there is nothing to say.
        code: exit status, 1 for a run that failed, 2 for wrong usage or a wrong recipe.
    """

    def __init__(self, message: str, hint: str = "", code: int = 1):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class UsageError(MetacliError):
    """Wrong usage or a wrong recipe: exit status 2."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message, hint, code=2)


class ToldError(MetacliError):
    """A failure that another process of the same training tells; this one ends without a word.

    Args:
        code: exit status.
    """

    def __init__(self, code: int):
        super().__init__("told by another process", code=code)
