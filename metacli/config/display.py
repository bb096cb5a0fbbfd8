"""Shortens any value to one short line, for messages."""

from __future__ import annotations

import reprlib
from typing import Any

_LONGEST = 80  # characters of a text or a number


class _ShortRepr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Returns the digits of a number. Python refuses to print very long ones, so these are described."""
        return repr(x) if x.bit_length() < 4 * _LONGEST else f"a number of {x.bit_length():,} bits"


_short = _ShortRepr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, _LONGEST, _LONGEST
_short.maxlist = _short.maxtuple = _short.maxdict = 10


def shorten_value(value: Any) -> str:
    """Returns the `repr` of a value, shortened if it is long or deeply nested."""
    return _short.repr(value)


def shorten_key(key: Any) -> str:
    """Returns a key as it appears in a dotted path, shortened if it is long."""
    if not isinstance(key, str):
        return shorten_value(key)
    return key if len(key) <= _LONGEST else f"{key[:_LONGEST]}..."
