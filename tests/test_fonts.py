"""Names of any script in pictures: glyphs where a font has them, else code points; never the box of a missing glyph."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from metacli.show import fonts

REMEMBER = (fonts._face, fonts._has, fonts.installed)


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    """Nothing remembered of other tests, nor left to them."""
    for function in REMEMBER:
        function.cache_clear()
    monkeypatch.setattr(fonts, "_noted", [])
    yield
    for function in REMEMBER:
        function.cache_clear()


def drawn(text: str) -> np.ndarray:
    page = Image.new("L", (400, 40), "white")
    fonts.draw_text(ImageDraw.Draw(page), (3, 3), text, "black", 20)
    return np.asarray(page)


@pytest.mark.parametrize("text", ["Ж", "буква", "Ω", "Ελληνικά", "é", "№"])
def test_cyrillic_and_greek_are_drawn_and_each_letter_is_its_own(text, capsys):
    pytest.importorskip("matplotlib")  # brings DejaVu Sans
    assert fonts.legible(text) == text
    assert capsys.readouterr().err == ""
    assert len({drawn(c).tobytes() for c in (*text, "Б", "Θ")}) == len({*text, "Б", "Θ"})


def test_what_no_font_has_is_written_in_code_points_with_one_note(monkeypatch, capsys):
    monkeypatch.setattr(fonts, "installed", lambda: ())
    assert fonts.legible("ab ひら😀") == r"ab \u3072\u3089\U0001f600"
    fonts.legible("Ж")
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1
    assert r"'ひ': pictures show \u3072" in notes[0]
    np.testing.assert_array_equal(drawn("Ж"), drawn(r"\u0416"))


def test_every_character_drawn_has_a_glyph_in_the_font_that_draws_it():
    """Against the tables of the font files, which map characters to glyphs."""
    tables = pytest.importorskip("fontTools.ttLib")
    text = "Zж Ωå → 猫 ह ع 😀 ✓ \u0300"
    for face, part in fonts._runs(text):
        if face:
            known = tables.TTFont(face, fontNumber=0).getBestCmap()
            assert {ord(c) for c in part} <= set(known)


def test_a_name_that_would_break_the_line_or_is_no_text_is_shown_all_the_same():
    assert fonts.legible("a\n\tb\u200dc\udcff") == r"a  bc\udcff"
    assert fonts.legible("e\u0301") == "\u00e9"
    assert fonts.text_width("", 14) == 0


def test_the_width_is_that_of_what_is_drawn():
    for text in ("plain", "буква = x", "0 = Ω"):
        ink = np.flatnonzero((drawn(text) < 200).any(0))
        assert abs(ink[-1] - 3 - fonts.text_width(text, 20)) < 4


def test_fonts_that_draw_a_box_for_everything_are_not_taken():
    assert not [f for f in fonts.installed() if "lastresort" in f.lower()]


def test_matplotlib_gets_a_font_that_has_the_text(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    with fonts.matplotlib_fonts(["буква Ω", "$x$"]):
        assert not matplotlib.rcParams["text.parse_math"]
        known: set[int] = set()
        for family in matplotlib.rcParams["font.family"]:
            known |= set(FT2Font(findfont(family)).get_charmap())
    assert {ord(c) for c in "букваΩ"} <= known


def test_a_broken_font_file_is_passed_over(monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "installed", lambda: (str(broken),))
    assert fonts.legible("Ж") == r"\u0416"
    assert isinstance(fonts._font("", 12), ImageFont.FreeTypeFont)
