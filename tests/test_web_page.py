"""The page in a real browser, drawn on with real input events: mouse, finger, keyboard."""

from __future__ import annotations

import re
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

import devtools
from web_stub import TOKEN, Stub, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

RING = [(0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 25)]
CROSS = [[(0.2, 0.2), (0.5, 0.5), (0.8, 0.8)], [(0.8, 0.2), (0.5, 0.5), (0.2, 0.8)]]
WEDGE = [(0.2, 0.3), (0.5, 0.8), (0.8, 0.3)]
SHEET = "#classes li:nth-child({}) .sheet:nth-of-type({}) canvas"
QUERY = "#query canvas"
ODDS = "[...document.querySelectorAll('#odds li')].map(li => li.innerText.replace(/\\s+/g, ' ').trim())"
VERDICT = "document.getElementById('verdict').textContent"
SHARES = "[...document.querySelectorAll('#classes .share')].map(s => s.textContent)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with devtools.browser(str(CHROMIUM), tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(chromium):
    """The page, at a desktop's size; after the test it must have asked this server alone, and without an error."""
    chromium.errors.clear()
    chromium.asked.clear()
    with served(Stub()) as port:
        chromium.screen(1280, 800, prefers_color_scheme="light", prefers_reduced_motion="reduce")
        chromium.open(f"http://127.0.0.1:{port}/{TOKEN}/")
        yield chromium
        chromium.js("1")
        assert chromium.errors == []
        assert {a.partition(TOKEN)[0] for a in chromium.asked if not a.startswith("blob:")} == {
            f"http://127.0.0.1:{port}/"
        }
        chromium.open("about:blank")


def cross(page, sheet, touch=False):
    for line in CROSS:
        page.stroke(sheet, line, touch)


def taught(page, touch=False):
    """Three classes, A a ring, B a cross, C a wedge."""
    page.stroke(SHEET.format(1, 1), RING, touch)
    cross(page, SHEET.format(2, 1), touch)
    page.stroke(SHEET.format(3, 1), WEDGE, touch)


def says(page, name):
    page.until(f"{VERDICT} === 'Answer: {name}'")


def inked(page, selector):
    """The share of a sheet that is ink."""
    return page.js(
        f"(() => {{const c = document.querySelector({selector!r}); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 127;"
        "return n / (c.width * c.height)})()"
    )


def test_with_the_mouse_it_learns_answers_and_shows_where_it_looked(page):
    assert page.js(VERDICT) == "Draw at least two classes, then a query."
    taught(page)
    page.until(f"{VERDICT} === 'Now draw one of the classes again, above.'")
    cross(page, QUERY)
    says(page, "B")
    spoken = page.until("document.getElementById('spoken').textContent")
    odds = page.js(ODDS)
    shown = [int(re.fullmatch(r"[ABC] (\d+) %", row)[1]) for row in odds]
    assert sum(shown) == pytest.approx(100, abs=2)
    assert shown[1] > 60
    assert spoken == f"B, {shown[1]} %. Most attended: your B, {shown[1]} %."
    assert page.js(SHARES) == [f"{n} %" for n in shown], "the stand-in answers by what it looks at"
    width = "+document.getElementById('thread-' + document.querySelectorAll('#classes .sheet')[{}].dataset.sheet)"
    widths = [page.js(width.format(i) + "?.getAttribute('stroke-width') || 0") for i in range(3)]
    assert np.argmax(widths) == 1
    assert int(page.js("document.querySelector('#time b').textContent").removesuffix(" ms")) < 1000


def test_an_unsure_answer_is_shown_and_spoken_as_one(page):
    for sheet in (SHEET.format(1, 1), SHEET.format(2, 1), QUERY):
        page.stroke(sheet, RING)
    page.until(f"{VERDICT}.startsWith('Unsure, perhaps ')")
    page.until("document.getElementById('spoken').textContent.startsWith('Unsure, perhaps ')")


def test_the_answer_follows_the_pen_before_it_is_lifted(page):
    taught(page)
    x, y, w, h = page.box(QUERY)
    held = {"button": "left", "buttons": 1, "clickCount": 1}
    for i, (u, v) in enumerate(RING):
        kind = "mouseMoved" if i else "mousePressed"
        page("Input.dispatchMouseEvent", type=kind, x=x + u * w, y=y + v * h, **held)
    says(page, "A")
    assert page.js("document.getElementById('spoken').textContent") == "", "nothing is spoken of what is not finished"
    page("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, **held)
    page.until("document.getElementById('spoken').textContent.startsWith('A, ')")


def test_undo_and_redo_strokes_drawings_classes_and_names(page):
    taught(page)
    cross(page, QUERY)
    says(page, "B")
    full = inked(page, QUERY)
    page.click("#undo")
    assert 0 < inked(page, QUERY) < 0.8 * full
    page.key("z", control=True)
    assert inked(page, QUERY) == 0
    page.key("z", control=True, shift=True)
    page.click("#redo")
    assert inked(page, QUERY) == pytest.approx(full)
    says(page, "B")
    assert page.js("document.getElementById('redo').disabled")

    page.click("#classes li:nth-child(2) .more")
    page.stroke(SHEET.format(2, 2), WEDGE)
    assert page.js("document.querySelectorAll('#classes li:nth-child(2) .sheet').length") == 2
    page.click("#classes li:nth-child(2) .sheet:nth-of-type(2) .away")
    assert page.js("document.querySelectorAll('#classes li:nth-child(2) .sheet').length") == 1
    page.click("#undo")
    assert inked(page, SHEET.format(2, 2)) > 0

    page.click("#classes li:nth-child(1) .quiet")
    page.until(f"{ODDS}.length === 2")
    page.click("#undo")
    page.until(f"{ODDS}.length === 3")
    page.js("document.querySelector('#classes li:nth-child(2) input').select()")
    page.key(*"Ola", "Enter")
    says(page, "Ola")
    page.click("#undo")
    says(page, "B")
    page.click("#clear")
    assert page.js("document.getElementById('clear').disabled")
    page.until(f"{VERDICT} === 'Draw at least two classes, then a query.'")
    page.click("#undo")
    says(page, "B")


def test_up_to_five_classes_of_names_of_their_own(page):
    page.click("#add")
    page.click("#add")
    names = "[...document.querySelectorAll('#classes input')].map(i => i.value)"
    assert page.js(names) == list("ABCDE")
    assert page.js("document.getElementById('add').hidden")
    for _ in range(3):
        page.click("#classes li:nth-child(1) .quiet")
    assert page.js(names) == list("DE")
    assert page.js("document.querySelectorAll('#classes .quiet:not([hidden])').length") == 0
    page.stroke(SHEET.format(1, 1), RING)
    page.stroke(SHEET.format(2, 1), WEDGE)
    page.stroke(QUERY, WEDGE)
    says(page, "E")
    page.js("document.querySelector('#classes li:nth-child(1) input').select()")
    page.key("E", "Enter")
    page.until(f"{VERDICT} === 'Two classes have the same name.'")


def test_a_query_can_be_kept_as_a_drawing_of_its_class(page):
    taught(page)
    cross(page, QUERY)
    says(page, "B")
    page.click("#keep button:nth-of-type(3)")
    assert page.js("document.querySelectorAll('#classes li:nth-child(3) .sheet').length") == 2
    assert inked(page, QUERY) == 0
    cross(page, QUERY)
    page.until(f"{SHARES}.length === 4 && {SHARES}[3] !== ''")


def test_by_keyboard_alone(page):
    sheets = 0
    for _ in range(40):
        page.key("Tab")
        label = page.js("document.activeElement.getAttribute('aria-label') || ''")
        moves = {"drawing 1 of A": "ArrowRight", "drawing 1 of B": "ArrowDown", "the query": "ArrowRight"}
        move = next((m for start, m in moves.items() if label.startswith(f"{start}, empty")), None)
        if move is None:
            continue
        sheets += 1
        page.key("ArrowLeft" if move == "ArrowRight" else "ArrowUp", *[move] * 2, " ", *[move] * 6, " ")
        assert "1 stroke" in page.js("document.activeElement.getAttribute('aria-label')")
        if label.startswith("the query"):
            break
    assert sheets == 3
    says(page, "A")
    page.key(" ", "ArrowDown", "ArrowDown", "ArrowDown", "Escape")
    assert "2 strokes" in page.js("document.activeElement.getAttribute('aria-label')")
    page.key("Backspace")
    assert "1 stroke" in page.js("document.activeElement.getAttribute('aria-label')")
    page.key("Delete")
    assert "empty" in page.js("document.activeElement.getAttribute('aria-label')")
    unnamed = (
        "[...document.querySelectorAll('button, input, canvas[tabindex]')].filter(e => !(e.ariaLabel || e.innerText))"
    )
    assert page.js(f"{unnamed}.length") == 0


def test_with_a_finger_on_a_phone_nothing_is_cut_or_scrolled_away(page):
    page.screen(390, 844, phone=True, prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    page.js("new Promise(requestAnimationFrame)")
    taught(page, touch=True)
    page.box("#answer")
    before = page.js("scrollY")
    page.stroke(QUERY, RING, touch=True)
    says(page, "A")
    assert page.js("scrollY") == pytest.approx(before, abs=400)
    assert page.js("document.documentElement.scrollWidth") <= 390
    beyond = (
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('svg, .unseen') && "
        "(e.getBoundingClientRect().right > innerWidth || e.getBoundingClientRect().left < 0)).map(e => e.outerHTML)"
    )
    assert page.js(beyond) == []
    small = (
        "[...document.querySelectorAll('button')].filter(e => e.checkVisibility()).filter(e => "
        "Math.min(e.offsetWidth, e.offsetHeight) < 24).map(e => e.outerHTML)"
    )
    assert page.js(small) == []
    assert not page.js("document.getElementById('keyboard').checkVisibility()")
    page.until("document.querySelectorAll('#attended canvas').length === 3")
    assert inked(page, "#attended canvas") > 0.01
    page.screen(320, 640, phone=True, prefers_reduced_motion="reduce")
    page.until("document.documentElement.clientWidth === 320")
    assert page.js(beyond) == []


def test_the_colours_of_words_can_be_read_in_the_light_and_in_the_dark(page):
    taught(page)
    page.stroke(QUERY, RING)
    says(page, "A")

    def light(colour):
        parts = np.array([float(p) for p in re.findall(r"[\d.]+", colour)[:3]]) / (1 if "srgb" in colour else 255)
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    for scheme in ("light", "dark"):
        page.screen(1280, 800, prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
        paper = light(page.js("getComputedStyle(document.documentElement).backgroundColor"))
        assert (paper > 0.5) == (scheme == "light")
        for selector in (
            "h1",
            "#lead",
            "#verdict b",
            "#odds li",
            "#time",
            ".quiet",
            ".share",
            "footer",
            ".hint",
            "canvas",
        ):
            ink = light(page.js(f"getComputedStyle(document.querySelector({selector!r})).color"))
            contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
            assert contrast >= (3 if selector == "#verdict b" else 4.5), (scheme, selector, contrast)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_example_draws_itself_and_is_one_step_to_undo(page, motion):
    page.screen(1280, 800, prefers_color_scheme="light", prefers_reduced_motion=motion)
    page.click("#example")
    says(page, "Oru")
    page.until("!!document.getElementById('spoken').textContent", 20)
    assert page.js("document.querySelectorAll('#classes li').length") == 5
    page.click("#undo")
    page.until(f"{VERDICT} === 'Draw at least two classes, then a query.'")
    assert page.js("document.getElementById('undo').disabled")


def test_an_example_that_is_interrupted_is_whole_at_once(page):
    page.screen(1280, 800, prefers_color_scheme="light", prefers_reduced_motion="no-preference")
    page.click("#example")
    page.until("document.querySelectorAll('#classes li').length === 5")
    page.click("#mark")
    says(page, "Oru")
    assert page.js("document.querySelectorAll('#classes .sheet:not(.empty)').length") == 5


def test_the_download_holds_what_was_drawn(page, tmp_path):
    taught(page)
    page("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#save")
    target = tmp_path / "metacli-drawings.zip"
    for _ in range(200):
        if target.exists():
            break
        page.js("new Promise(r => setTimeout(r, 20))")
    with zipfile.ZipFile(target) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        assert names == [f"metacli-drawings/test/{c}/01.png" for c in "ABC"]
        ring = np.asarray(Image.open(archive.open(names[0]))) < 128
    ys, xs = np.nonzero(ring)
    far = np.hypot(xs + 0.5 - 128, ys + 0.5 - 128)
    assert abs(far - 0.3 * 256).max() < 12, "the ink lies where the mouse went"


def test_a_server_that_has_ended_is_told_of(chromium):
    chromium.screen(1280, 800, prefers_reduced_motion="reduce")
    with served(Stub()) as port:
        chromium.open(f"http://127.0.0.1:{port}/{TOKEN}/")
        taught(chromium)
    chromium.stroke(QUERY, RING)
    chromium.until("document.getElementById('trouble').textContent.startsWith('metacli draw has stopped')")
    chromium.open("about:blank")


def test_a_model_without_looks_says_so(chromium):
    with served(Stub(looks=False)) as port:
        chromium.open(f"http://127.0.0.1:{port}/{TOKEN}/")
        taught(chromium)
        chromium.stroke(QUERY, RING)
        says(chromium, "A")
        chromium.until("document.getElementById('attended-note').textContent.startsWith('This model has no')")
        assert chromium.js("document.querySelectorAll('.attended').length") == 0
        chromium.open("about:blank")
