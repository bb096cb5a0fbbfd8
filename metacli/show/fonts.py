"""Fonts for class names in any script: finds the installed fonts that have the glyphs and lends them to matplotlib."""

from __future__ import annotations

import os
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from metacli.system import operating_system, terminal

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.ft2font import FT2Font

_FOLDERS = (
    "~/.local/share/fonts",
    "~/.fonts",
    "/usr/local/share/fonts",
    "/usr/share/fonts",
    "~/Library/Fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "~/AppData/Local/Microsoft/Windows/Fonts",
    "C:/Windows/Fonts",
)
_SUFFIXES = (".ttf", ".otf", ".ttc")
_PLACEHOLDER_FONTS = ("lastresort", "adobeblank")  # these map every character to a box or to nothing
_LESS_SUITABLE = ("bold", "italic", "oblique", "mono", "serif", "condensed", "narrow", "light", "black", "thin")
_LEFT_TO_RIGHT_MARK = "\u200e"
_missing_reported: list[str] = []  # the character of the one note


def make_drawable(text: str) -> str:
    r"""Returns the text as a picture can show it.

    White space becomes blanks and invisible marks are left out. A character that no installed font has is replaced
    by its code point, as in \u3072, with a note on stderr the first time. Text that runs from right to left is
    enclosed in marks, so that the order of what stands around it does not change.
    """
    drawable: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        if character.isspace():
            drawable.append(" ")
        elif unicodedata.category(character) != "Cf":
            if _font_with(character) is None:
                _report_missing(character)
                character = character.encode("unicode_escape").decode()
            drawable.append(character)
    line = "".join(drawable)
    if any(unicodedata.bidirectional(character) in ("R", "AL") for character in line):
        line = f"{_LEFT_TO_RIGHT_MARK}{line}{_LEFT_TO_RIGHT_MARK}"
    return line


@contextmanager
def temporary_fonts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Adds the fonts that these texts need to matplotlib and yields their family names, for `font.family`.

    The names are made from the paths, unlike those of any other font, and the fonts are removed at the end: nothing
    else that draws with matplotlib in this process sees them.
    """
    from matplotlib.font_manager import FontEntry, fontManager

    files = dict.fromkeys([_base_font(), *(font for text in texts for font in _fonts_of(make_drawable(text)))])
    entries = [FontEntry(fname=file, name=f"metacli {os.fsencode(file).hex()}") for file in files]
    fontManager.ttflist += entries
    try:
        yield [entry.name for entry in entries]
    finally:
        fontManager.ttflist[:] = [entry for entry in fontManager.ttflist if entry not in entries]


def text_width(text: str, size: float) -> float:
    """Returns the width of a `make_drawable` text, in pixels, in the fonts that are in use.

    Args:
        size: of the font, in pixels.
    """
    from matplotlib.font_manager import FontProperties

    return float(_renderer().get_text_width_height_descent(text, FontProperties(size=size), False)[0])


def cut_to_width(text: str, size: float, width: float) -> str:
    """Returns as much of a `make_drawable` text as fits into `width` pixels, with an ellipsis where it is cut."""
    if text_width(text, size) <= width:
        return text
    fitting = bisect_right(range(len(text)), width, key=lambda length: text_width(f"{text[:length]}…", size))
    return f"{text[: max(fitting - 1, 0)]}…"


def join_into_lines(parts: list[str], size: float, width: float) -> list[str]:
    """Joins `make_drawable` texts, with some blanks between them, into lines of at most `width` pixels.

    A text that is wider than that has a line of its own.
    """
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}     {part}" if lines else part
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


@cache
def installed_fonts() -> tuple[str, ...]:
    """Returns the font files of this machine and of matplotlib: DejaVu Sans, then other plain sans-serif fonts."""
    folders = [operating_system.expand_home(folder) for folder in _FOLDERS]
    folders += [Path(data, "fonts") for data in os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep) if data]
    if (matplotlib_spec := find_spec("matplotlib")) and matplotlib_spec.origin:
        folders.append(Path(matplotlib_spec.origin).parent / "mpl-data/fonts/ttf")
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES}
    files = {path for path in files if not path.stem.lower().startswith(_PLACEHOLDER_FONTS)}

    def order(path: Path) -> tuple[bool, int, str]:
        name = path.stem.lower()
        return name != "dejavusans", sum(word in name for word in _LESS_SUITABLE), str(path)

    return tuple(map(str, sorted(files, key=order)))


@cache
def _base_font() -> str:
    """The font of all text that it has the glyphs for: DejaVu Sans, which comes with matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))


@cache
def _font_with(character: str) -> str | None:
    """The file of the first font that has a glyph for the character; None where no font has."""
    return next((font for font in (_base_font(), *installed_fonts()) if _has(font, character)), None)


def _fonts_of(text: str) -> list[str]:
    """The fonts that draw a text: one where a font has all of it, else as few as possible."""
    fonts = list(dict.fromkeys(_font_with(character) or _base_font() for character in text))
    complete = [font for font in fonts if all(_has(font, character) for character in text)]
    return complete[:1] or fonts


@cache
def _has(font: str, character: str) -> bool:
    if not character.isprintable() and character != _LEFT_TO_RIGHT_MARK:
        return False
    face = _open(font)
    return face is not None and face.get_char_index(ord(character)) != 0


@lru_cache(maxsize=32)  # each holds its file open
def _open(font: str) -> FT2Font | None:
    """A font file; None for a file that is no font or one of bitmaps."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(font)
    except (OSError, RuntimeError):
        return None
    return face if face.scalable else None


@cache
def _renderer() -> RendererAgg:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, 72)


def _report_missing(character: str) -> None:
    """Says once that a character cannot be drawn."""
    if not _missing_reported:
        _missing_reported.append(character)
        code = character.encode("unicode_escape").decode()
        hint = "install a font of its script, such as Noto Sans, to have it drawn"
        terminal.print_to_stderr(f"note: no installed font has {character!r}: pictures show {code}; {hint}")
