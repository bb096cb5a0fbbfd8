"""A run over one's own folder finds it from any directory, and says what to do where it has moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import metacli
from metacli.config import yaml_file
from metacli.errors import MetacliError

KEYS = {
    "seed": 1,
    "task": {"name": "folder", "root": "mine", "ways": 2, "queries": 1, "size": 8, "test_fraction": 0.3},
    "model": {"name": "lstm", "hidden": 8, "layers": 1},
    "train": {"steps": 2, "batch": 2, "eval_tasks": 2},
}


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The working directory, with a folder `mine` of 16 classes."""
    for c in range(16):
        (tmp_path / "mine" / f"c{c}").mkdir(parents=True)
        for i in range(3):
            Image.new("L", (9, 9), 10 * c + i).save(tmp_path / "mine" / f"c{c}" / f"{i}.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_evaluated_from_any_directory_and_goes_on_from_its_own(home, monkeypatch, cli):
    (home / "own.yaml").write_text(yaml_file.dump(KEYS))
    metacli.train("own.yaml", run_dir="run", threads=1)
    assert yaml_file.parse((home / "run" / "recipe.yaml").read_text(), "")["task"]["root"] == str(home / "mine")
    metacli.train("own.yaml", resume="run", threads=1)  # the same relative root from the same directory: equal
    here = metacli.evaluate("run", n_tasks=3)
    monkeypatch.chdir(home / "elsewhere")
    assert metacli.evaluate("../run", n_tasks=3).mean == here.mean

    (home / "mine").rename(home / "moved")
    with pytest.raises(MetacliError, match="mine is not a folder") as caught:
        metacli.evaluate("../run", n_tasks=3)
    assert "task.root=NEW" in caught.value.hint
    assert metacli.evaluate("../run", "task.root=../moved", n_tasks=3).mean == here.mean
    lost = cli("eval", "-c", "run", "--tasks", "3", METACLI_CACHE=home / "cache")
    assert lost.returncode == 2
    assert "task.root=NEW" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_only_the_split_that_is_asked_for_must_be_large_enough(home):
    """Once: a flat folder failed `eval`, as its val, which nobody asked for, was too small."""
    metacli.train(KEYS, run_dir="run", threads=1)
    for c in range(4, 16):
        for i in range(3):
            (home / "mine" / f"c{c}" / f"{i}.png").unlink()
    keys = ("task.test_fraction=0.6", "task.val_fraction=0.01", "task.split_seed=5")
    with pytest.raises(MetacliError, match="val: 2 ways"):
        metacli.evaluate("run", *keys, "task.ways=2", n_tasks=3, split="val")
    with pytest.raises(MetacliError, match="the model was trained on"):
        metacli.evaluate("run", *keys, n_tasks=3)
    for path in (home / "mine").rglob("*.png"):
        Image.new("L", (9, 9), 255 - Image.open(path).getpixel((0, 0))).save(path)  # pictures it was not trained on
    assert len(metacli.evaluate("run", *keys, n_tasks=3)) == 3


def test_recipes_that_ship_name_no_folder():
    from metacli.config import recipe

    assert not [path.name for path in recipe.recipes_folder().glob("*.yaml") if "root:" in path.read_text()]
