"""The guides are true: their examples run in order, in an empty folder, and print what the pages say."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from metacli.checkpoints import bundled, checkpoint
from metacli.checkpoints.provenance import NO_CLASSES
from metacli.config.recipe import recipe_from_dict
from metacli.registry import MODELS, TASKS, build, resolve

DOCS = Path(__file__).parent.parent / "docs"
GUIDES = ["python.md", "write-a-model.md", "write-a-task.md"]
_FENCE = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAID = re.compile(r"# -> (.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, the file it belongs to, its text, and the number of its first line."""

    language: str
    file: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    found = _FENCE.finditer(page)
    return [Block(m[1], m[2] or "", m[3], page.count("\n", 0, m.start()) + 2) for m in found]


def stand_in(folder: Path) -> Path:
    """A folder of the weights that ship; glyphs_transformer, where it does not, is a matching network, untrained."""
    folder.mkdir()
    for path in bundled.FOLDER.glob("*.safetensors"):
        (folder / path.name).symlink_to(path)
    path = folder / "glyphs_transformer.safetensors"
    if not path.exists():
        task = {"name": "strokes", "ways": 20, "prepare": True, "instances": 12}
        model = {"name": "transformer", "width": 256, "layers": 1, "positions": "none", "init": "content"}
        recipe = recipe_from_dict({"name": "stand-in", "task": task, "model": model}, "stand-in")
        torch.manual_seed(0)
        spec = resolve(TASKS, recipe.task.name, "task").spec_of(recipe.task)
        model = build(MODELS, recipe.model, spec)
        checkpoint.save(path, checkpoint.Snapshot(recipe, 0, None, model, NO_CLASSES))
    return folder


def run_python(block: Block, namespace: dict) -> None:
    """Run a block; what it prints on the lines that say what they print is that."""
    code = compile("\n" * (block.line - 1) + block.text, "guide", "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    printed, said = iter(out.getvalue().splitlines()), _SAID.findall(block.text)
    for line in said:
        assert line in printed, f"line {block.line}: {line!r} was not printed, or not in this order:\n{out.getvalue()}"


def run_console(block: Block, cli) -> None:
    """Run each command; the lines below one are what it tells on stderr."""
    for text in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, told = text.partition("\n")
        command, _, note = command.partition(" # ")
        words = shlex.split(command)
        assert words[0] == "metacli"
        done = cli(*words[1:])
        status = int(note.rpartition(" ")[2]) if "exit status" in note else 0
        assert done.returncode == status, f"line {block.line}: {command}\n{done.stderr}"
        assert told.strip() in done.stderr


@pytest.mark.filterwarnings("ignore:.*accuracy is unproven:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
def test_every_example_runs_and_prints_what_the_page_says(guide, tmp_path, monkeypatch, cli, registries):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(bundled, "FOLDER", stand_in(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "notebook"}
    for block in blocks((DOCS / guide).read_text(encoding="utf-8")):
        if block.file:
            with open(block.file, "a", encoding="utf-8") as file:
                file.write(block.text + "\n\n")
        if block.language == "python":
            run_python(block, namespace)
        elif block.language == "console":
            run_console(block, cli)
