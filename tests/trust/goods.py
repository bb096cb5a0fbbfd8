"""What is good before it is damaged: runs, checkpoints, pictures, and the numbers that are right for them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from tests.trust.confined import Case, Outcome, run

TINY = [
    "task.width=2", "task.max_length=2", "model.hidden=4", "train.batch=2", "train.eval_tasks=3", "train.eval_every=2",
    "train.checkpoint_every=2", "train.log_every=1", "train.steps=4",
]  # fmt: skip
FLAT = ["model.encoder.kind=flat"]
SMALL = {  # of every model, as overrides of `smoke`
    "lstm": [],
    "ntm": ["model.name=ntm", "model.locations=4", "model.width=3", *FLAT],
}
FOLDER = """
seed: 0
task: {{name: folder, root: {root}, size: 8, ways: 2, shots: 1, queries: 1, val_fraction: 0.3, test_fraction: 0.3}}
model: {{name: lstm, hidden: 4, layers: 1, encoder: {{kind: flat}}}}
train: {{steps: 1, batch: 1, eval_tasks: 1, eval_every: 0, checkpoint_every: 0, log_every: 1}}
"""
CLASSES = 9
UNHURRIED = 300  # seconds for a command of our own, the first of which imports much


class Goods:
    """Good files in a folder, made as they are asked for.

    Args:
        path: where they are kept.
    """

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(exist_ok=True)
        self._numbers: dict[str, Any] = {}

    def prepare(self, needs: Iterable[str]) -> None:
        """Make some by their names, before anything is limited."""
        here = Path.cwd()
        os.chdir(self.path)
        for name in needs:
            getattr(self, name)()
        os.chdir(here)

    def finished(self) -> Path:
        """A run of four steps."""
        path = self.path / "finished"
        if not path.exists():
            self.right(["train", "smoke", *TINY, "--run-dir", str(path), "--threads", "1"])
        return path

    def stopped(self) -> Path:
        """The same run, stopped after two."""
        from metacli.runs.directory import RunDirectory

        path, log = self.path / "stopped", RunDirectory.log

        def stop(self: RunDirectory, record: dict[str, Any]) -> None:
            log(self, record)
            if record["step"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        if not path.exists():
            with mock.patch.object(RunDirectory, "log", stop):
                command = ["train", "smoke", *TINY, "--run-dir", str(path), "--threads", "1"]
                assert run(Case(command), seconds=UNHURRIED).code == 143
        return path

    def memory(self) -> Path:
        """A run of a model with a memory."""
        path = self.path / "memory"
        if not path.exists():
            self.right(
                ["train", "smoke", *TINY, *SMALL["ntm"], "train.steps=1", "--run-dir", str(path), "--threads", "1"]
            )
        return path

    def pictures(self) -> Path:
        """A folder of pictures, two of each class."""
        path, rng = self.path / "pictures", np.random.default_rng(0)
        for c in range(CLASSES if not path.exists() else 0):
            for i, (suffix, mode) in enumerate((("png", "L"), ("jpg", "RGB"))):
                folder = path / f"class{c}"
                folder.mkdir(parents=True, exist_ok=True)
                ink = np.full((16, 16), 255, np.uint8)
                ink[2 + c % 3 : 12, 3 + c] = ink[3 + c % 5, 2:13] = rng.integers(0, 90)
                Image.fromarray(ink).convert(mode).save(folder / f"{i}.{suffix}")
        return path

    def splits(self) -> Path:
        """A folder of pictures in three splits, three classes in each."""
        path, rng = self.path / "splits", np.random.default_rng(1)
        for c in range(9 if not path.exists() else 0):
            folder = path / ("train", "val", "test")[c // 3] / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(3):
                ink = np.full((32, 32), 255, np.uint8)
                ink[rng.integers(2, 28, 60), rng.integers(2, 28, 60)] = 0
                Image.fromarray(ink).save(folder / f"{i}.png")
        return path

    def of_splits(self) -> Path:
        """A run on them."""
        path, recipe = self.path / "of_splits", self.path / "splits.yaml"
        if not path.exists():
            recipe.write_text(FOLDER.format(root=self.splits()))
            self.right(["train", str(recipe), "--run-dir", str(path), "--threads", "1"])
        return path

    def folder_recipe(self) -> str:
        """A recipe of the pictures in ./pictures."""
        return FOLDER.format(root="pictures")

    def of_folder(self) -> Path:
        """A run on the pictures."""
        path, recipe = self.path / "of_folder", self.path / "mine.yaml"
        if not path.exists():
            recipe.write_text(FOLDER.format(root=self.pictures()))
            self.right(["train", str(recipe), "--run-dir", str(path), "--threads", "1"])
        return path

    def numbers(self, name: str, argv: list[str]) -> Any:
        """What a command printed as JSON the first time, for a good file of that name."""
        if name not in self._numbers:
            self._numbers[name] = self.right(argv).json()
        return self._numbers[name]

    @staticmethod
    def right(argv: list[str]) -> Outcome:
        """Run a command that must succeed."""
        outcome = run(Case(argv), seconds=UNHURRIED)
        assert outcome.code == 0, f"metacli {' '.join(argv)}: {outcome.code}\n{outcome.err}\n{outcome.raised}"
        return outcome


def copied(source: Path, target: Path) -> Path:
    """A copy of a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.write_bytes(source.read_bytes())
    return target
