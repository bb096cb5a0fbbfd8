"""Values as messages show them: short, in one line, whatever they are."""

from __future__ import annotations

import reprlib
from typing import Any

_LONGEST = 80  # characters of a text or a number


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Its digits, but of a number that has more of them than Python writes."""
        return repr(x) if x.bit_length() < 4 * _LONGEST else f"a number of {x.bit_length():,} bits"


_short = _Short()
_short.maxlevel, _short.maxstring, _short.maxother = 3, _LONGEST, _LONGEST
_short.maxlist = _short.maxtuple = _short.maxdict = 10


def shown(value: Any) -> str:
    """A value as Python writes it, cut where it is long, nested or cannot be written."""
    return _short.repr(value)


def shown_key(key: Any) -> str:
    """A key as in a dotted path."""
    if not isinstance(key, str):
        return shown(key)
    return key if len(key) <= _LONGEST else f"{key[:_LONGEST]}..."
