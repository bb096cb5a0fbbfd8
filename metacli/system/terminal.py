"""What reaches the screen: text from elsewhere made harmless, in whatever the stream can carry.

A class name, a path, a key or the text of an exception may hold anything: sequences that move the cursor or rename the
window, letters that run backwards, bytes that are no letters. Whatever the program writes passes through `plain`, line
by line: tables and drawings in `metacli.show.console`, JSON in `as_json`, all else in `say` and `tell`.
"""

from __future__ import annotations

import io
import json
import re
import sys
import traceback
import unicodedata
from functools import lru_cache
from typing import Any, TextIO

from rich.cells import cell_len

_NAME_WIDTH = 8  # columns of the name of a fact
_JOINERS = "\u200c\u200d"  # have no width, but words of Persian and Hindi need them
_BEYOND_ASCII = re.compile(r"[^\n -~]")
# Where a stream lacks one of a family, all of it is drawn in ASCII, so that densities and lines still go together.
_FAMILIES = [
    dict(zip("░▒▓█", ":+*#", strict=True)),
    dict(zip("▘▝▀▖▌▞▛▗▚▐▜▄▙▟█", "`'\",|/F.\\|7_LJ#", strict=True)),
    dict(zip("▁▂▃▅▆▇█", "._-=+*#", strict=True)),
    *({letter: shown} for letter, shown in {"·": ".", "…": "~", "→": ">", "±": "+-"}.items()),
]


def plain(text: str, encoding: str = "utf-8") -> str:
    r"""A text as one line that only shows letters: what else is in it is spelled out, as in `\n`, `\x1b` or `\u202e`.

    Control characters, line and paragraph separators, what turns the direction of writing or has no width, surrogates
    that stand for bytes that are no letters (as in `caf\udce9`), and letters that the encoding lacks; of the
    program's own glyphs, those have a substitute in ASCII.

    Args:
        text: anything.
        encoding: of the stream that it is for.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or _harmless(c) else repr(c)[1:-1] for c in text)
    text = text.translate(_substitutes(encoding))
    return text if carries(encoding, text) else text.encode(encoding, "backslashreplace").decode(encoding)


def lines(text: str, encoding: str = "utf-8") -> str:
    """`plain` of each line of a text whose line ends are the program's own."""
    return "\n".join(plain(line, encoding) for line in text.split("\n"))


def carries(encoding: str, text: str) -> bool:
    """Whether an encoding has all letters of a text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def as_json(value: Any, encoding: str = "utf-8") -> str:
    r"""JSON that is harmless on a screen, and the same value when it is read: `\u` and four digits for the rest.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if not carries(encoding, text):
        text = json.dumps(value, indent=2, allow_nan=False)
    return _BEYOND_ASCII.sub(lambda found: _as_json(found[0]), text)


def say(*said: str) -> None:
    """Lines on stderr."""
    write(sys.stderr, *said)


def tell(*said: str) -> None:
    """Lines on stdout."""
    write(sys.stdout, *said)


def print_facts(**facts: object) -> None:
    """Facts on stderr, each after its name; see `format_fact`."""
    for name, value in facts.items():
        say(*format_fact(name, str(value)))


def format_fact(name: str, text: str, width: int = 80) -> list[str]:
    """`name` and `text` side by side, in several lines where one would be wider than `width`.

    Lines break only at spaces, so that a path without spaces stays whole and can be copied.
    """
    lines, room = [""], width - _NAME_WIDTH
    for word in plain(text, encoding_of(sys.stderr)).split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cell_len(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [f"{'' if i else name:<{_NAME_WIDTH}}{line}" for i, line in enumerate(lines)] if name else lines


def write(stream: TextIO, *said: str) -> None:
    """Lines on a stream, at once."""
    print("\n".join(plain(line, encoding_of(stream)) for line in said), file=stream, flush=True)


def encoding_of(stream: TextIO) -> str:
    """The encoding of a stream; UTF-8 for one in memory, which has none."""
    return getattr(stream, "encoding", None) or "utf-8"


def prepare() -> None:
    """Let no letter end the program, and no traceback act on the screen; to be called once, before anything is said."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _say_traceback


def _say_traceback(*error: Any) -> None:
    say(*(line for part in traceback.format_exception(*error) for line in part.rstrip("\n").split("\n")))


def _as_json(letter: str) -> str:
    if letter.isprintable() or _harmless(letter):
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else json.dumps(letter)[1:-1]


def _harmless(letter: str) -> bool:
    """Whether a letter that Python's `repr` would spell out may stay: a space of its own width, a joiner in a word."""
    return letter in _JOINERS or unicodedata.category(letter) == "Zs"


@lru_cache
def _substitutes(encoding: str) -> dict[int, str]:
    lacking = [family for family in _FAMILIES if not carries(encoding, "".join(family))]
    return str.maketrans({letter: shown for family in lacking for letter, shown in family.items()})
