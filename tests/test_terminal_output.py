"""Nothing that a name holds acts on the screen, and no encoding ends a verb: every verb, in UTF-8, cp1252 and ASCII."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from metacli.cli import main as command_line
from metacli.config import yaml_file
from metacli.errors import MetacliError
from metacli.show.console import Screen
from metacli.system import terminal

ROOT = Path(__file__).parent.parent
ENCODINGS = ["utf-8", "cp1252", "ascii"]
BYTES = "caf\udce9"  # how Python knows the file name b"caf\xe9"
NAMES = [
    "\x1b[2J\x1b]0;title\x07",
    "[bold]x",
    "a\nb\tc",
    "\u202eevil",
    "x" * 200,
    "😀👩‍👩‍👧",
    "猫科動物大熊猫",
    "e\u0301\u0301o",
    BYTES,
]
NAMES += ["\x9b31m", "a\u2028b\u200bc", ":smile:"]
SAID = ["\x1b[2J", "[/red]", "[link=http://x]y[/link]", "a\nerror: b", "\u202ee", BYTES, "\x9b1m", "\x00"]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def pictures(folder: Path) -> None:
    """Three pictures that no other class has."""
    folder.mkdir(parents=True)
    for k in range(3):
        ink = np.full((16, 16), 255, np.uint8)
        ink[3:11, 4 + k], ink[8, 3:9] = 0, 0
        ink[:2] = np.frombuffer(hashlib.sha256(f"{folder.parts[-2:]!a} {k}".encode()).digest(), np.uint8).reshape(2, 16)
        Image.fromarray(ink).save(folder / f"{k}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with classes of hostile names, a recipe for them, and a run of it; its own name is not UTF-8 either."""
    place = tmp_path_factory.mktemp("screen")
    try:
        (place / BYTES).mkdir()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    for split in ("train", "val", "test", "support"):
        for name in NAMES if split != "support" else [NAMES[0], BYTES]:
            pictures(place / BYTES / split / name)
    pictures(place / BYTES / "train" / "[/red]")
    tree = {
        "task": {
            **{"name": "folder", "root": str(place / BYTES), "ways": 3, "shots": 1, "queries": 1, "size": 8},
            "allow_same_names": True,
        },
        "model": {"name": "ntm", "encoder": {"kind": "flat"}, "hidden": 4, "locations": 3, "width": 3},
        "train": {"steps": 2, "batch": 2, "eval_tasks": 2, "scan": "plain"},
    }
    (place / "recipe.yaml").write_text(yaml_file.dump(tree), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METACLI_CACHE", str(place / "cache"))
        patch.chdir(place)
        code, _, err = spoken(patch, "train", "recipe.yaml", "--threads", "1", "--run-dir", f"run{BYTES}")
    assert code == 0, err
    return place


def spoken(patch, *args: str, encoding: str = "utf-8", terminal: bool = False) -> tuple[int, str, str]:
    """The exit status, stdout and stderr of the command line on streams of an encoding, strict as Python opens them."""
    streams = []
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
        stream.isatty = lambda: terminal  # type: ignore[method-assign]
        patch.setattr(sys, name, stream)
        streams.append(stream)
    patch.setattr(sys, "excepthook", sys.excepthook)
    patch.setattr(sys, "argv", ["metacli", *args])
    patch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        command_line.main()
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)  # type: ignore[attr-defined]
    return int(left.value.code or 0), out, err


def check(text: str) -> None:
    """That a text only shows letters, on lines."""
    acting = [c for c in text if c != "\n" and not (c.isprintable() or c in "\u200d\xa0")]
    assert not acting, (acting, text[-2000:])


VERBS = {
    "sample-tasks": ["sample-tasks", "recipe.yaml", "--split", "test", "--png", "s.png", "--npz", "s.npz"],
    "sample-bits": ["sample-tasks", "copy_ntm", "-n", "1"],
    "sample-curve": ["sample-tasks", "sinusoid_ntm", "-n", "1"],
    "eval": ["eval", "-c", f"run{BYTES}", "--tasks", "12", "--threads", "1"],
    "inspect": ["inspect-memory", "-c", f"run{BYTES}", "--out", f"look{BYTES}\x1b[1m", "--format", "npz,html,json"],
    "usage": ["inspect-memory", "-c", f"run{BYTES}", "--tasks", "2"],
    "dry-run": ["train", "recipe.yaml", "--dry-run", "--threads", "1"],
    "recipes": ["recipes", "recipe.yaml"],
    "predict": ["predict", "--support", f"{BYTES}/support", "--query", f"{BYTES}/support/{NAMES[0]}", "\x1b[2Jno.png"],
    "help": ["--help"],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_only_shows_letters(verb, encoding, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("METACLI_CACHE", str(place / "cache"))
    code, out, err = spoken(monkeypatch, *VERBS[verb], encoding=encoding)
    assert code == 0, err
    check(out)
    check(err)
    assert all(cell_len(line) <= 80 for line in out.splitlines()) or verb == "dry-run"
    if verb == "eval":
        table = [line for line in out.splitlines() if line.startswith(("│", "|"))]
        assert len(table) >= 10
        assert {cell_len(line) for line in table} == {80}
        assert all(line.endswith(("│", "|")) for line in table)
    if verb == "sample-tasks":
        with np.load("s.npz") as arrays:
            assert {name for row in arrays["classes"] for name in row} <= {
                f"test/{unicodedata.normalize('NFC', name)}" for name in NAMES
            }


def strings(value: object) -> Iterator[str]:
    """All strings in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings(part)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("verb", ["sample-tasks", "eval", "inspect", "dry-run", "predict"])
def test_json_is_harmless_and_holds_the_names_as_they_are(verb, encoding, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("METACLI_CACHE", str(place / "cache"))
    _, out, err = spoken(monkeypatch, *VERBS[verb], "--json", encoding=encoding)
    check(out)
    check(err)
    words = list(strings(json.loads(out)))
    assert any(word.endswith(name) for word in words for name in NAMES)  # as the folder has it


def test_colours_are_all_that_acts_on_a_terminal(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("METACLI_CACHE", str(place / "cache"))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    code, out, err = spoken(monkeypatch, *VERBS["inspect"], terminal=True)
    assert (code, bool(COLOURS.search(out))) == (0, True), err
    check(COLOURS.sub("", out))
    check(COLOURS.sub("", err))


WORDS = [
    lambda x: [x],
    lambda x: ["eval", "-c", x],
    lambda x: ["eval", "-c", "x", f"--{x}"],
    lambda x: ["eval", "-c", "x", "--tasks", x],
    lambda x: ["train", x],
    lambda x: ["train", "smoke", x],
    lambda x: ["train", "smoke", f"{x}=3"],
    lambda x: ["train", "smoke", f"task.{x}=3"],
    lambda x: ["train", "smoke", f"train.lr={x}"],
    lambda x: ["train", "smoke", f"name={x}/"],
    lambda x: ["train", "smoke", f"task.name={x}"],
    lambda x: ["train", "smoke", "--plugin", x],
    lambda x: ["train", "smoke", "--device", x],
    lambda x: ["train", "smoke", "--threads", x],
    lambda x: ["train", "--resume", x],
    lambda x: ["sample-tasks", "smoke", "--split", x],
    lambda x: ["recipes", "--keys", x],
    lambda x: ["recipes", "smoke", "--copy", f"nowhere/{x}"],
    lambda x: ["predict", "--support", x, "--query", x],
]


@pytest.mark.parametrize("said", [x for x in SAID if x != "\x00"], ids=ascii)
def test_wrong_words_are_quoted_harmlessly(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, words in enumerate(WORDS):
        encoding = ENCODINGS[i % len(ENCODINGS)]
        code, out, err = spoken(monkeypatch, *words(said), encoding=encoding)
        assert (code in (1, 2), out) == (True, ""), (words(said), out, err)
        check(err)
        assert err.startswith(("error: ", "device  ")), err
        assert sum(line.startswith("error: ") for line in err.splitlines()) == 1, err  # no name adds one


def test_keys_of_a_file_are_quoted_harmlessly(tmp_path, monkeypatch):
    file = tmp_path / "r.yaml"
    file.write_text('"\\e[2J": 1\n"[/red]": 2\n"a\\nerror: b": 3\ntask: {name: "\\u202e"}\nmodel: {name: ["\\x9b"]}\n')
    code, _, err = spoken(monkeypatch, "train", str(file))
    check(err)
    assert code == 2
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert all(text in err for text in ("\\x1b[2J: unknown", "[/red]: unknown", "a\\nerror: b: unknown", "\\u202e"))


def test_a_real_process_in_another_encoding(place):
    env = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "METACLI_CACHE": str(place / "cache")}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "metacli", "sample-tasks", "recipe.yaml", f"task.root={place / BYTES}"]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("ascii")
    check(text)
    assert "#" in text


def test_a_traceback_does_not_act_on_the_screen(monkeypatch, capsys):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    terminal.set_up_streams()
    error = RuntimeError("\x1b[2J [red]")
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "RuntimeError: \\x1b[2J [red]\n"


@given(st.text(st.characters(codec=None, exclude_categories=())), st.sampled_from([*ENCODINGS, "cp437", "cp932"]))
def test_escaped_text_is_one_line_that_the_encoding_has(text, encoding):
    shown = terminal.escape_text(text, encoding)
    assert all(c.isprintable() or terminal._is_harmless(c) for c in shown)
    assert shown.encode(encoding).decode(encoding) == shown or encoding == "cp932"  # which has two codes for a few
    assert terminal.escape_text(shown, encoding) == shown
    if text.isascii() and text.isprintable():
        assert shown == text


JSON = st.recursive(st.text(st.characters(codec=None, exclude_categories=())), lambda x: st.lists(x, max_size=3))


def test_json_results_have_floats_of_six_significant_digits():
    value = {
        "a": [1 / 3, 123456789.0, 1e-9 / 3, (2.0,)],
        "b": {"c": -2 / 3},
        "d": [True, 12345678, None, "0.3333333333"],
    }
    wanted = {"a": [0.333333, 123457000.0, 3.33333e-10, [2.0]], "b": {"c": -0.666667}, "d": value["d"]}
    assert json.loads(terminal.format_json(value)) == wanted


@given(JSON, st.sampled_from(ENCODINGS))
def test_json_reads_back_as_the_same(value, encoding):
    text = terminal.format_json({"a": value}, encoding)
    check(text.replace("\u200c", "").replace("\u3000", "") if encoding == "utf-8" else text)
    again = json.loads(text.encode(encoding).decode(encoding))["a"]
    assert json.dumps(again) == json.dumps(value)  # a pair of surrogates is one letter in JSON


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tables_are_whole_whatever_a_cell_holds(encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Screen(file=file, width=60)
    table = Table("a ± b", "c")
    for name in NAMES:
        table.add_row(name.replace("\n", " "), "0.5 ± 0.1")
        table.add_row(Text(name.replace("\n", " ")), Text("shades ░▒▓█"))
    console.print(table)
    console.print("[bold]not markup[/bold] :smile:")
    file.flush()
    lines = file.buffer.getvalue().decode(encoding).splitlines()  # type: ignore[attr-defined]
    check("\n".join(lines))
    assert len({cell_len(line) for line in lines[:-1]}) == 1
    assert lines[-1] == "[bold]not markup[/bold] :smile:"
    assert ("+-" in lines[1], any("*" in line for line in lines)) == (encoding == "ascii", encoding != "utf-8")


def test_each_shade_and_each_quarter_has_a_substitute_of_its_own_width():
    from metacli.show import glyphs

    for palette in (glyphs.SHADES, glyphs._QUADRANTS, "·…→"):
        shown = terminal.escape_text(palette, "ascii")
        assert len(shown) == len(palette)
        assert "\\u" not in shown
    assert len(set(terminal.escape_text(f"{glyphs.SHADES}·", "ascii"))) == 6  # no two densities look alike
    assert terminal.escape_text("█▀", "cp437") == '#"'  # cp437 has these two, not the quarters: all or none
    assert terminal.escape_text("0.5 ± 0.1", "latin-1") == "0.5 ± 0.1"


def test_a_message_is_one_line_unless_it_is_a_list():
    assert MetacliError("a", "b").lines == ["error: a", "hint: b"]
    many = MetacliError(["a", "b"], ["c", "d"])
    assert many.lines == ["error: a", "b", "hint: c", "d"]
    assert (many.message, many.hint, str(many)) == ("a\nb", "c\nd", "a\nb")


def test_no_error_joins_its_lines_itself():
    """What it raises with a line end of its own would be printed as a backslash and an n."""
    for path in (ROOT / "metacli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
                texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                assert not any("\n" in text for text in texts), f"{path.name}, line {node.lineno}: give a list of lines"
