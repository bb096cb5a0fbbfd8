"""Print to the terminal: foreign text escaped, every character in the encoding of the stream.

A class name, a path, a key or the text of an exception may hold anything: sequences that move the cursor or rename the
window, characters that change the writing direction, bytes that are not characters. Whatever the program prints passes
through `escape_text`, line by line: tables and drawings in `metacli.show.console`, JSON in `format_json`, all else in
`print_to_stderr` and `print_to_stdout`.
"""

from __future__ import annotations

import io
import json
import os
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
# If an encoding lacks one character of a family, the whole family is drawn in ASCII, so that shades stay in order.
_FAMILIES = [
    dict(zip("░▒▓█", ":+*#", strict=True)),
    dict(zip("▘▝▀▖▌▞▛▗▚▐▜▄▙▟█", "`'\",|/F.\\|7_LJ#", strict=True)),
    dict(zip("▁▂▃▅▆▇█", "._-=+*#", strict=True)),
    *({character: substitute} for character, substitute in {"·": ".", "…": "~", "→": ">", "±": "+-"}.items()),
]


class Nowhere(io.StringIO):
    """A stream that discards what is written. It needs no file."""

    def write(self, text: str) -> int:
        """Write nothing."""
        return len(text)


def escape_text(text: str, encoding: str = "utf-8") -> str:
    r"""Returns a text as one line of visible characters; others are escaped, as in `\n`, `\x1b` or `\u202e`.

    Escaped are control characters, line and paragraph separators, characters that change the writing direction or have
    no width, surrogates that stand for bytes that are not characters (as in `caf\udce9`), and characters that the
    encoding lacks. The program's own glyphs have a substitute in ASCII.

    Args:
        text: any text.
        encoding: of the stream that it is printed to.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or _is_harmless(c) else repr(c)[1:-1] for c in text)
    text = text.translate(_substitutes(encoding))
    return text if can_encode(encoding, text) else text.encode(encoding, "backslashreplace").decode(encoding)


def escape_lines(text: str, encoding: str = "utf-8") -> str:
    """Returns `escape_text` of each line of a text whose line ends are the program's own."""
    return "\n".join(escape_text(line, encoding) for line in text.split("\n"))


def can_encode(encoding: str, text: str) -> bool:
    """Returns whether an encoding has all characters of a text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def round_floats(value: Any, digits: int = 6) -> Any:
    """Returns plain values with each float rounded to so many significant digits. Results are printed and saved so."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: round_floats(entry, digits) for key, entry in value.items()}
    return [round_floats(entry, digits) for entry in value] if isinstance(value, list | tuple) else value


def format_json(value: Any, encoding: str = "utf-8") -> str:
    r"""Returns a result as JSON, its floats rounded to six significant digits.

    It is harmless on a terminal: unsafe characters are `\u` and four digits.

    Raises:
        ValueError: a number is not finite.
    """
    value = round_floats(value)
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if not can_encode(encoding, text):
        text = json.dumps(value, indent=2, allow_nan=False)
    return _BEYOND_ASCII.sub(lambda match: _escape_for_json(match[0]), text)


def stderr() -> TextIO:
    """Returns sys.stderr, or a stream to nowhere in a process that has none, such as one without a console."""
    return sys.stderr or Nowhere()


def print_to_stderr(*lines: str) -> None:
    """Print lines to stderr, escaped."""
    print_to(stderr(), *lines)


def print_to_stdout(*lines: str) -> None:
    """Print lines to stdout, escaped."""
    print_to(sys.stdout, *lines)


def print_facts(**facts: object) -> None:
    """Print facts to stderr, each after its name. See `format_fact`."""
    for name, value in facts.items():
        print_to_stderr(*format_fact(name, str(value)))


def format_fact(name: str, text: str, width: int = 80) -> list[str]:
    """Returns `name` and `text` side by side, in several lines if one would be wider than `width`.

    Lines break only at spaces, so that a path without spaces stays whole and can be copied.
    """
    lines, room = [""], width - _NAME_WIDTH
    for word in escape_text(text, encoding_of(stderr())).split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cell_len(longer) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return [f"{'' if i else name:<{_NAME_WIDTH}}{line}" for i, line in enumerate(lines)] if name else lines


def print_to(stream: TextIO, *lines: str) -> None:
    """Print lines to a stream, escaped, and flush it. Prints nothing without lines."""
    if lines:
        print("\n".join(escape_text(line, encoding_of(stream)) for line in lines), file=stream, flush=True)


def encoding_of(stream: TextIO) -> str:
    """Returns the encoding of a stream, UTF-8 for one in memory, which has none."""
    return getattr(stream, "encoding", None) or "utf-8"


def set_up_streams() -> None:
    """Let no character raise an error in stdout or stderr, and escape tracebacks. Call it once, before any output.

    COLUMNS=0, which some programs set, counts as 80.
    """
    if (columns := os.environ.get("COLUMNS")) and not columns.strip("0"):
        os.environ["COLUMNS"] = "80"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _print_traceback


def _print_traceback(*error: Any) -> None:
    print_to_stderr(*(line for part in traceback.format_exception(*error) for line in part.rstrip("\n").split("\n")))


def _escape_for_json(character: str) -> str:
    if character.isprintable() or _is_harmless(character):
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]


def _is_harmless(character: str) -> bool:
    """Returns whether a character that `repr` escapes is safe to print: a space or a joiner."""
    return character in _JOINERS or unicodedata.category(character) == "Zs"


@lru_cache
def _substitutes(encoding: str) -> dict[int, str]:
    missing = [family for family in _FAMILIES if not can_encode(encoding, "".join(family))]
    return str.maketrans({character: substitute for family in missing for character, substitute in family.items()})
