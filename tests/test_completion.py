"""Tab completion: what is offered where, in which format, and that it needs no slow imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from metacli.cli import completion
from metacli.cli.completion import find_offers
from metacli.cli.completion_index import FILE
from tests.completion_index import build_index

ROOT = Path(__file__).parent.parent


def offered(*words: str) -> list[str]:
    """The words that a shell offers."""
    return [offer.word for offer in find_offers(list(words)) if offer.word.startswith(words[-1])]


def ask(shell: str, cwd: Path = ROOT, **variables: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), completion.VARIABLE: f"complete_{shell}", **variables}
    command = [sys.executable, "-m", "metacli"]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True).stdout


def test_the_index_is_what_the_code_gives():
    found = json.loads(FILE.read_text(encoding="utf-8"))
    assert found == build_index(), "write it anew: python -m tests.completion_index"


def test_verbs_options_and_choices():
    assert {"train", "eval", "models"} <= set(offered(""))
    assert offered("in") == ["inspect-memory"]
    assert offered("eval", "copy_ntm", "--th") == ["--threads"]
    assert offered("eval", "--split", "t") == ["train", "test"]
    assert offered("eval", "--device", "cu") == ["cuda"]
    assert offered("eval", "--device=cu") == ["--device=cuda"]
    assert offered("recipes", "--keys", "rep") == ["repeat-copy"]
    assert offered("predict", "--support", "") == []
    assert offered("fly", "") == []


def test_recipes_and_models():
    assert offered("train", "copy_n") == ["copy_ntm", "copy_ntm_paper"]
    assert offered("eval", "copy") == ["copy_ntm"]
    assert offered("eval", "copy_ntm", "-c", "repeat") == ["repeat_copy_ntm"]
    assert offered("draw", "glyphs_t") == ["glyphs_transformer"]


def test_keys_are_those_of_the_recipe():
    assert offered("train", "copy_ntm", "train.l") == ["train.lr=", "train.loss=", "train.log_every="]
    assert offered("train", "copy_ntm", "--device", "cpu", "task.max") == ["task.max_length=", "task.max_length=20"]
    assert "task.ways=" not in offered("train", "copy_ntm", "task.")
    assert "task.ways=" in offered("train", "mine.yaml", "task.")
    assert offered("eval", "strokes_transformer", "task.sh") == ["task.shots=", "task.shift="]
    assert offered("train", "copy_ntm", "train.schedule=") == ["train.schedule=constant", "train.schedule=cosine"]
    assert offered("train", "--resume", "runs/first", "train.st") == ["train.steps=", "train.steps=10000"]


def test_run_directories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for run in ("runs/copy_ntm/1", "runs/first", "runs/mann/2-seeds/seed0", "other/run"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "recipe.yaml").touch()
    assert offered("curves", "runs/") == ["runs/copy_ntm/1", "runs/first", "runs/mann/2-seeds/seed0"]
    assert offered("train", "--resume", "other/") == ["other/run"]
    assert "runs/first" in offered("eval", "")


def test_formats_of_the_shells(tmp_path):
    assert ask("bash", COMP_WORDS="metacli\ntrain\ntrain.l", COMP_CWORD="2").split() == [
        "train.lr=",
        "train.loss=",
        "train.log_every=",
    ]
    split = {"COMP_WORDS": "metacli\ntrain\ncopy_ntm\ntrain.schedule\n=\nco", "COMP_CWORD": "5"}
    assert ask("bash", **split).split() == ["constant", "cosine"]
    split = {"COMP_WORDS": "metacli\ntrain\ncopy_ntm\ntrain.schedule\n=", "COMP_CWORD": "4"}
    assert ask("bash", **split).split() == ["constant", "cosine"]
    assert ask("zsh", _TYPER_COMPLETE_ARGS="metacli train smo") == (
        '_arguments \'*: :(("smoke":"A few seconds, to check the installation LSTM, copies of up to three bits."))\'\n'
    )
    assert ask("zsh", _TYPER_COMPLETE_ARGS="metacli predict --support ") == "_files\n"
    fish = ask("fish", _TYPER_COMPLETE_ARGS="metacli eval --split v", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert fish == "val\n"


def test_a_name_that_a_shell_would_run_is_not_offered(tmp_path):
    run = tmp_path / "runs" / "$(touch x)"
    run.mkdir(parents=True)
    (run / "recipe.yaml").touch()
    assert ask("zsh", tmp_path, _TYPER_COMPLETE_ARGS="metacli curves runs/") == "_files\n"


@pytest.mark.parametrize("module", ["torch", "pydantic", "typer", "rich", "yaml", "numpy"])
def test_no_slow_import(module):
    code = (
        f"import os, sys; os.environ.update({completion.VARIABLE}='complete_bash', COMP_CWORD='2', "
        "COMP_WORDS='metacli eval co'); from metacli.cli import completion; completion.complete(); "
        f"sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0
