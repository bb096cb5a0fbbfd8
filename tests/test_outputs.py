"""Options that name a file to write: what they refuse before any work, and what they replace; by the command line."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from test_rundir import called, run, trained  # noqa: F401  fixtures

from metacli.config import yaml_file

pytest.importorskip("matplotlib")


@pytest.fixture
def done(monkeypatch, capsys):
    """Runs a command that must succeed and returns its stderr."""

    def call(*words: object) -> str:
        code, err = called(monkeypatch, capsys, *words)
        assert code == 0, err
        return err

    return call


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs a command that must be refused as wrong usage, before any work, and returns the error."""

    def call(*words: object) -> str:
        before = {path: path.lstat().st_mtime_ns for path in Path().rglob("*")}
        code, err = called(monkeypatch, capsys, *words)
        assert code == 2, err
        lines = err.splitlines()
        assert lines[-2].startswith("error: "), err
        assert lines[-1].startswith("hint: "), err
        assert {path: path.lstat().st_mtime_ns for path in Path().rglob("*")} == before
        return lines[-2]

    return call


@pytest.fixture
def pictures(run) -> Path:  # noqa: F811
    """Three classes of two pictures, each below `train`, `val` and `test` of the folder `data`."""
    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for c in range(3):
            folder = Path("data", split, f"{split}{c}")
            folder.mkdir(parents=True)
            for i in range(2):
                Image.fromarray(draw.integers(0, 256, (9, 9), np.uint8)).save(folder / f"{i}.png")
    return Path("data")


WRITERS = {
    "curves": ("curves", "run", "--png", "--csv"),
    "eval": ("eval", "run", "run", "--tasks", 2, "--threads", 1, "--png"),
    "sample-tasks": ("sample-tasks", "run", "-n", 1, "--png", "--npz"),
}


@pytest.mark.parametrize("verb", WRITERS)
def test_a_file_that_metacli_did_not_write_is_kept(verb, run, done, refused):  # noqa: F811
    words = [word for word in WRITERS[verb] if word not in ("--png", "--csv", "--npz")]
    for option in WRITERS[verb][len(words) :]:
        suffix = option.removeprefix("--")
        file = Path(f"file.{suffix}")
        file.write_bytes(b"not by metacli")
        assert "metacli did not write it" in refused(*words, option, file)
        for wrong in ("run/recipe.yaml", "run/best.safetensors", "x", f"x.{suffix}.txt"):
            assert f"does not end in .{suffix}" in refused(*words, option, wrong)
        assert "is a folder" in refused(*words, option, "run")
        assert "there is no folder absent" in refused(*words, option, f"absent/x.{suffix}")
        done(*words, option, file, "--force")
        content = file.read_bytes()
        done(*words, option, file)  # its own file by now
        assert file.read_bytes() == content


def test_inspection_keeps_files_of_others(run, done, refused):  # noqa: F811
    words = ("inspect-memory", run, "--threads", 1, "--format", "npz,html,json", "--out")
    done(*words, "look")
    done(*words, "look")
    for file in Path("look").iterdir():
        own = file.read_bytes()
        file.write_text("notes")
        assert "metacli did not write it" in refused(*words, "look")
        file.write_bytes(own)
    assert "is a file, not a folder" in refused(*words, file)
    file.write_text("notes")
    done(*words, "look", "--force")
    assert file.read_bytes() == own


def test_empty_files_links_and_suffixes_in_capitals(run, done, refused):  # noqa: F811
    done("curves", run, "--csv", os.devnull)
    Path("empty.csv").touch()  # as mktemp leaves it
    done("curves", run, "--csv", "empty.csv")
    Path("link.csv").symlink_to("target.csv")  # to nothing yet
    done("curves", run, "--csv", "link.csv")
    done("curves", run, "--csv", "LINK.CSV")
    assert Path("link.csv").is_symlink()
    assert Path("target.csv").read_text() == Path("empty.csv").read_text() == Path("LINK.CSV").read_text()
    Path("notes.csv").write_text("run,recipe\n")
    Path("other.csv").symlink_to("notes.csv")
    assert "metacli did not write it" in refused("curves", run, "--csv", "other.csv")
    Path("loop.csv").symlink_to("loop.csv")
    assert "cannot write loop.csv" in refused("curves", run, "--csv", "loop.csv")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
def test_a_pipe_gets_the_file(run, done):  # noqa: F811
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    done("curves", run, "--csv", "pipe")
    reader.join(60)
    assert read[0].startswith("run,recipe,seed,split,step,metric,")


def test_a_picture_that_is_read_is_never_replaced(run, pictures, done, refused):  # noqa: F811
    """Not even with --force, and not if metacli drew it."""
    support, query = pictures / "train", pictures / "test" / "test0"
    own = support / "train0" / "1.png"
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", "metacli")
    for path in (own, query / "1.png"):
        Image.open(path).save(path, pnginfo=mark)
    ask = ("predict", "--support", support, "--query", query, "--png")
    Path("link.png").symlink_to(own)
    for png in (own, query / "1.png", query / "new.png", support / "train1" / "new.png", "link.png"):
        assert "that this command reads" in refused(*ask, png, "--force")
    assert "is a picture that this command reads" in refused(*ask[:4], own, "--png", own)
    for _ in range(2):
        done(*ask[:-1], "--csv", "answers.csv", "--orders", 1)


def test_folders_of_a_recipe_keep_their_pictures(pictures, done, refused):
    keys = {"name": "folder", "root": str(pictures), "size": 9, "ways": 3, "shots": 1, "queries": 1}
    tree = {
        "task": keys,
        "model": {"name": "lstm", "hidden": 8, "encoder": {"kind": "flat"}},
        "train": {"steps": 1, "batch": 2, "eval_every": 0, "eval_tasks": 2},
    }
    Path("mine.yaml").write_text(yaml_file.dump(tree))
    done("train", "mine.yaml", "--run-dir", "mine", "--threads", 1)
    place = pictures / "test" / "test0"
    for words in (
        ("sample-tasks", "mine.yaml", "-n", 1, "--png", place / "0.png"),
        ("eval", "mine", "--tasks", 2, "--threads", 1, "--png", place / "0.png"),
        ("inspect-memory", "mine", "--threads", 1, "--format", "png", "--out", place),
    ):
        assert "that this command reads" in refused(*words, "--force")
    done("eval", "mine", "--tasks", 2, "--threads", 1, "--png", "matrix.png")
    assert Image.open("matrix.png").info["Software"] == "metacli"
