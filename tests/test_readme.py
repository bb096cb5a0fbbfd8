"""The commands of the README and the tutorial run in order, as typed, the long ones with fewer steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PAGES = ["README.md", "docs/tutorial.md"]
LEFT_OUT = ("git clone", "python3 -m venv", "pip install", "metacli --install-completion")  # set-up
DOWNLOADS, SERVER = "omniglot", "metacli draw"
SHORTER = {"train": ["train.steps=20", "train.eval_every=10", "train.eval_tasks=10"]}
FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    lines = "\n".join(FENCE.findall((TOP / page).read_text(encoding="utf-8"))).replace("\\\n", " ").splitlines()
    return [line[2:].partition(" #")[0].strip() for line in lines if line.startswith("$ ")]


def is_left_out(command: str) -> bool:
    return command.startswith((*LEFT_OUT, SERVER)) or DOWNLOADS in command


def shorten(words: list[str]) -> list[str]:
    """Fewer steps where a command trains, fewer tasks where it evaluates."""
    if words[0] == "train" and "--dry-run" not in words:
        words = [*(w for w in words if not w.startswith("train.steps=")), *SHORTER["train"]]
    if "--tasks" in words:
        words[words.index("--tasks") + 1] = "10"
    return words


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_runs(page, tmp_path, monkeypatch, cli):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(TOP / "examples")
    for command in commands(page):
        if is_left_out(command):
            continue
        program, *words = shlex.split(command)
        assert program == "metacli", command
        done = cli(*shorten(words))
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_at_most_five_commands_of_the_readme_are_left_out():
    left_out = [command for command in commands("README.md") if is_left_out(command)]
    assert 0 < len(left_out) <= 5, left_out
    assert len(commands("README.md")) > 2 * len(left_out)


def test_the_readme_is_short():
    assert len((TOP / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
