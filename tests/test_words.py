"""Phrases that needed a second reading must not come back: in help texts, messages, docstrings, comments, documents."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from metacli.cli import main

ROOT = Path(__file__).parent.parent
VERBS = [command.name for command in main.app.registered_commands]
DOCUMENTS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
PHRASES = (
    "go on with",
    "only say what it would take",
    "nothing on stderr but errors",
    "number, or auto",
    "as many as help",
    "models that ship",
    "what ships",
    "held to",
    "of several checkpoints: also draw",
    "any that is free",
    "if not that",
    "looked at most",
    "begins with a dot",
    "hangs on",
    "which label stands for which class",
    "is unproven",
    "by `fit`, answers from phi",
    "as scikit-learn knows",
    "more that read",
    "telling less",
    "all every one",
    "lost by torchrun",
    "came too late",
    "does no harm",
    "the voice of",
    "look anyhow",
    "newer instructions hidden",
    "never obeyed",
    "small random numbers",
)
_FORBIDDEN = re.compile("|".join(rf"(?<!\w){re.escape(phrase)}(?!\w)" for phrase in PHRASES))


def find_phrases(text: str) -> list[str]:
    """Returns the phrases in a text, whatever its case, line breaks, frames, comment signs and Markdown."""
    plain = " ".join(re.sub(r"[\u2500-\u257f#>|*\s]+", " ", text).lower().split())
    return _FORBIDDEN.findall(plain)


def read_texts(source: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of every string, f-string (values as `...`) and block of comments."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = (part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
            yield node.lineno, "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value
    comments: list[str] = []
    line = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] > line + 1:
                yield line, " ".join(comments)
                comments = []
            comments.append(token.string)
            line = token.start[0]
    yield line, " ".join(comments)


@pytest.mark.parametrize(
    "text", ["What\nbegins with   a dot", "│ Go on │\n│ with   │", "# is held\n# to it", "*Hangs on*"]
)
def test_phrases_are_found_across_lines(text):
    assert len(find_phrases(text)) == 1


def test_parts_of_words_are_not_phrases():
    assert not find_phrases("They are held together. It hangs only once.")


def test_texts_of_a_source():
    source = '"""Doc."""\nx = f"a{x}b" "c"\n# one\n# two\n\ny = 1  # three\n'
    assert {text for _, text in read_texts(source)} == {"Doc.", "a...bc", "# one # two", "# three"}


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help(monkeypatch, capsys, verb):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["metacli", *([verb] if verb else []), "--help"])
    with pytest.raises(SystemExit, match="0"):
        main.main()
    text = capsys.readouterr().out
    assert "--help" in text
    assert not find_phrases(text)


def test_messages_docstrings_and_comments():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase}"
        for path in sorted((ROOT / "metacli").rglob("*.py"))
        for line, text in read_texts(path.read_text(encoding="utf-8"))
        for phrase in find_phrases(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [*DOCUMENTS, *RECIPES], ids=lambda path: path.name)
def test_documents_and_recipes(path):
    assert not find_phrases(path.read_text(encoding="utf-8"))
