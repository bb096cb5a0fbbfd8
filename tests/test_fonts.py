"""Names of any script in pictures: glyphs where a font has them, else code points; never the box of a missing glyph."""

from __future__ import annotations

import numpy as np
import pytest

from metacli.show import figures, fonts

matplotlib = pytest.importorskip("matplotlib")
REMEMBER = (fonts._font_with, fonts._has, fonts.installed_fonts)


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Nothing is remembered of other tests, nor left to them."""
    for function in REMEMBER:
        function.cache_clear()
    monkeypatch.setattr(fonts, "_missing_reported", [])
    yield
    for function in REMEMBER:
        function.cache_clear()


def drawn(text: str) -> np.ndarray:
    with figures.default_style([text]):
        figure = figures.new_figure(4, 0.4, 100, "none")
        figure.text(0.0075, 0.3, fonts.make_drawable(text), fontsize=20 * 0.72)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())[..., 0]


@pytest.mark.parametrize("text", ["Ж", "буква", "Ω", "Ελληνικά", "é", "№"])
def test_cyrillic_and_greek_are_drawn_and_each_letter_is_its_own(text, capsys):
    assert fonts.make_drawable(text) == text
    assert capsys.readouterr().err == ""
    assert len({drawn(c).tobytes() for c in (*text, "Б", "Θ")}) == len({*text, "Б", "Θ"})


def test_what_no_font_has_is_written_in_code_points_with_one_note(monkeypatch, capsys):
    monkeypatch.setattr(fonts, "installed_fonts", lambda: ())
    assert fonts.make_drawable("ab ひら\U000e0100😀") == r"ab \u3072\u3089\U000e0100" + "😀"
    fonts.make_drawable("漢")
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1
    assert r"'ひ': pictures show \u3072" in notes[0]
    np.testing.assert_array_equal(drawn("ひ"), drawn(r"\u3072"))


def test_every_character_drawn_has_a_glyph_in_the_font_that_draws_it():
    """Against the tables of the font files, which map characters to glyphs."""
    tables = pytest.importorskip("fontTools.ttLib")
    text = fonts.make_drawable("Zж Ωå → 猫 ह 😀 ✓ \u0300")
    known: set[int] = set()
    for font in fonts._fonts_of(text):
        known |= set(tables.TTFont(font, fontNumber=0).getBestCmap())
    assert {ord(c) for c in text} <= known


def test_a_name_that_would_break_the_line_or_is_no_text_is_shown_all_the_same():
    assert fonts.make_drawable("a\n\tb\u200dc\udcff") == r"a  bc\udcff"
    assert fonts.make_drawable("e\u0301") == "\u00e9"
    with figures.default_style():
        assert fonts.text_width("", 14) == 0


def test_a_name_from_right_to_left_leaves_what_stands_around_it_in_its_place():
    name = fonts.make_drawable("שם")
    assert name == "\u200eשם\u200e"
    with figures.default_style([name]):
        alone, marked = (fonts.text_width(text, 20) for text in ("שם", name))
    assert alone == pytest.approx(marked, abs=1)
    ink = np.flatnonzero((drawn(f"0 = {name}") < 200).any(0))
    assert np.flatnonzero((drawn("0 =") < 200).any(0))[0] == ink[0]  # the label still comes first


def test_the_width_is_that_of_what_is_drawn():
    for text in ("plain", "буква = x", "0 = Ω"):
        ink = np.flatnonzero((drawn(text) < 200).any(0))
        with figures.default_style([text]):
            assert abs(ink[-1] - 3 - fonts.text_width(text, 20)) < 4


def test_a_text_is_shortened_to_a_width_and_texts_are_joined_into_lines():
    with figures.default_style():
        assert fonts.cut_to_width("short", 12, 100) == "short"
        cut = fonts.cut_to_width("a name that is far too long", 12, 100)
        assert cut.endswith("…")
        assert 80 < fonts.text_width(cut, 12) <= 100
        text = "a name that is far too long"
        for width in (1, 20, 60):
            fitting = [n for n in range(len(text)) if fonts.text_width(text[:n] + "…", 12) <= width]
            assert fonts.cut_to_width(text, 12, width) == text[: max(fitting, default=0)] + "…"
        lines = fonts.join_into_lines(["one", "two", "a part that is wider than the line", "three"], 12, 100)
        assert lines == ["one     two", "a part that is wider than the line", "three"]


def test_fonts_that_draw_a_box_for_everything_are_not_taken():
    assert not [f for f in fonts.installed_fonts() if "lastresort" in f.lower()]


def test_matplotlib_gets_a_font_that_has_the_text_and_keeps_none():
    from matplotlib.font_manager import findfont, fontManager
    from matplotlib.ft2font import FT2Font

    before = list(fontManager.ttflist)
    with figures.default_style(["буква Ω", "$x$"]):
        known: set[int] = set()
        for family in matplotlib.rcParams["font.family"]:
            known |= set(FT2Font(findfont(family)).get_charmap())
    assert {ord(c) for c in "букваΩ"} <= known
    assert fontManager.ttflist == before


def test_a_broken_font_file_is_passed_over(monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setattr(fonts, "installed_fonts", lambda: (str(broken),))
    assert fonts.make_drawable("ひ") == r"\u3072"
    assert fonts.make_drawable("Ж") == "Ж"
