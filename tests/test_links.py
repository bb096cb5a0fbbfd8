"""The documentation holds together: links lead to files and headings that exist, and so do the files it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors of a page as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        assert not anchor or anchor in headings(target), link


def test_every_page_and_picture_is_linked():
    linked = set()
    for page in PAGES:
        paths = (link.partition("#")[0] for link in _LINK.findall(page.read_text(encoding="utf-8")))
        linked |= {(page.parent / path).resolve() for path in paths if path and "://" not in path}
    assert {path for path in (TOP / "docs").iterdir() if path.is_file()} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_the_documentation_exist(page):
    for name in re.findall(r"`((?:metacli|tests|recipes|docs)/[\w./-]*)`", page.read_text(encoding="utf-8")):
        assert (TOP / name).exists(), f"{page.name} names {name}"


def test_the_layers_of_the_architecture_are_those_of_the_layout():
    from tests.test_layout import ORDER

    page = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## The layers")[2].partition("## ")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in row] == [name for name in ORDER if not name.startswith("__")]
