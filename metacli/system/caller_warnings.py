"""Warnings that name the user's line of code, through any number of calls and decorators of this package."""

from __future__ import annotations

import sys
import warnings

_PASSED = ("metacli", "contextlib")  # packages whose frames are skipped


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Issues a warning at the line outside of this package that led to this call."""
    level, frame = 1, sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in _PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
