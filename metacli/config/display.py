"""Shortens values for messages: one short line, whatever the value."""

from __future__ import annotations

import reprlib
from typing import Any

_LONGEST = 80  # characters of a text or a number


class _ShortRepr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Returns the digits of a number. Python refuses to write very long ones, so these are described instead."""
        return repr(x) if x.bit_length() < 4 * _LONGEST else f"a number of {x.bit_length():,} bits"


_short = _ShortRepr()
_short.maxlevel, _short.maxstring, _short.maxother = 3, _LONGEST, _LONGEST
_short.maxlist = _short.maxtuple = _short.maxdict = 10


def shorten_value(value: Any) -> str:
    """Returns a value as Python writes it, shortened if it is long or deeply nested."""
    return _short.repr(value)


def shorten_key(key: Any) -> str:
    """Returns a key as it stands in a dotted path, shortened if it is long."""
    if not isinstance(key, str):
        return shorten_value(key)
    return key if len(key) <= _LONGEST else f"{key[:_LONGEST]}..."
