"""Text in pictures, whatever the script: of the fonts installed those that have the glyphs, never an empty box."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from metacli.system import operating_system, terminal

_OWN = ""  # stands for the font that comes with Pillow
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
_BOXES = ("lastresort", "adobeblank")  # fonts that have something for every character, but never its glyph
_UNLIKE = ("bold", "italic", "oblique", "mono", "serif", "condensed", "narrow", "light", "black", "thin")
_noted: list[str] = []  # the character of the one note


def legible(text: str) -> str:
    r"""The text as a picture can show it: white space as blanks, invisible marks left out, and in place of each
    character that no installed font has its code point, as in \u3072, with a note on stderr the first time.
    """
    shown: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        if character.isspace():
            shown.append(" ")
        elif unicodedata.category(character) != "Cf":
            shown.append(character)
            if _face(character) is None:
                _note(character)
                shown[-1] = character.encode("unicode_escape").decode()
    return "".join(shown)


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str, size: int) -> None:
    """Draw text with Pillow, its upper left corner at `place`, `size` in pixels."""
    left, baseline = place[0], place[1] + _font(_OWN, size).getmetrics()[0]
    for face, part in _runs(text):
        font = _font(face, size)
        # a line runs to the right, Hebrew words within it their own way: for Pillow with Raqm to be told
        way = "ltr" if font.layout_engine == ImageFont.Layout.RAQM else None
        draw.text((left, baseline), part, colour, font, anchor="ls", direction=way)
        left += font.getlength(part)


def text_width(text: str, size: int) -> float:
    """How wide `draw_text` draws a text, in pixels."""
    return sum(_font(face, size).getlength(part) for face, part in _runs(text))


def joined(parts: list[str], size: int, width: float) -> list[str]:
    """Parts, some blanks between them, as lines that are no wider than `width` pixels if a part is not."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}     {part}" if lines else part
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def matplotlib_fonts(texts: Iterable[str]) -> AbstractContextManager[None]:
    """While figures are drawn and saved: the fonts that these texts, made `legible`, need; a $ begins no formula."""
    from matplotlib import font_manager, rc_context

    faces = {face: None for text in texts for face, _ in _runs(text) if face != _OWN}
    families = ["DejaVu Sans"]
    for face in faces:
        font_manager.fontManager.addfont(face)
        name = font_manager.FontProperties(fname=face).get_name()
        families += [name] if name not in families else []
    return rc_context({"font.family": families, "text.parse_math": False})


@cache
def _face(character: str) -> str | None:
    """The file of the first font that has a glyph for the character; None where no font has."""
    return next((face for face in (_OWN, *installed()) if _has(face, character)), None)


def _runs(text: str) -> list[tuple[str, str]]:
    """(font file, the stretch of the text that it draws): one where a font has all of it, else as few as can be."""
    text = legible(text)
    faces = dict.fromkeys(_face(character) or _OWN for character in text)
    for face in faces:
        if all(_has(face, character) for character in text):
            return [(face, text)]
    return [(face, "".join(part)) for face, part in groupby(text, lambda c: _face(c) or _OWN)]


@cache
def _has(face: str, character: str) -> bool:
    """Whether a font draws a character otherwise than one that no font has."""
    if not character.isprintable():
        return False
    try:
        # by itself: shaping adds a dotted circle to a sign that stands on others
        font = _font(face, 20, ImageFont.Layout.BASIC)
        drawn, box = (bytes(font.getmask(c)) for c in (character, "\U0010ffff"))
    except OSError:  # no font after all, or one of bitmaps in other sizes
        return False
    return character == " " or (drawn != box and any(drawn))


@cache
def installed() -> tuple[str, ...]:
    """The font files of this machine and of matplotlib, plain upright ones without serifs first, DejaVu before all."""
    folders = [operating_system.expand_home(folder) for folder in _FOLDERS]
    folders += [Path(data, "fonts") for data in os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep) if data]
    if (found := find_spec("matplotlib")) and found.origin:
        folders.append(Path(found.origin).parent / "mpl-data/fonts/ttf")
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES}
    files = {path for path in files if not path.stem.lower().startswith(_BOXES)}

    def order(path: Path) -> tuple[bool, int, str]:
        name = path.stem.lower()
        return name != "dejavusans", sum(word in name for word in _UNLIKE), str(path)

    return tuple(map(str, sorted(files, key=order)))


@cache
def _font(face: str, size: int, layout: ImageFont.Layout | None = None) -> ImageFont.FreeTypeFont:
    font = ImageFont.truetype(face, size, layout_engine=layout) if face else ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _note(character: str) -> None:
    """Say once what cannot be drawn, with the first such character."""
    if not _noted:
        _noted.append(character)
        code = character.encode("unicode_escape").decode()
        hint = "install a font of its script, such as Noto Sans, to have it drawn"
        terminal.print_to_stderr(f"note: no installed font has {character!r}: pictures show {code}; {hint}")
