"""The commands that users type, end to end: `python -m tests.acceptance` runs them from a wheel and from the sdist.

Each package is built, installed into an environment of its own, without extras and with all of them, and driven
through its `metacli` command in an empty folder. `tests/test_acceptance.py` runs the same steps in the checkout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
FEW_STEPS = ["train.steps=4", "train.batch=2", "train.warmup=1", "train.eval_every=2", "train.eval_tasks=4"]
NAMES = [
    "Bits",
    "Config",
    "CounterRNG",
    "EncoderConfig",
    "Episode",
    "Gaussian",
    "Learner",
    "MemoryTrace",
    "MetaLearner",
    "MetacliError",
    "OptimumTasks",
    "Outcome",
    "Reals",
    "Recipe",
    "Recurrent",
    "Scores",
    "Spec",
    "Symbols",
    "Tasks",
    "build_model",
    "build_tasks",
    "evaluate",
    "list_recipes",
    "load",
    "load_model",
    "load_plugin",
    "load_recipe",
    "register",
    "trace",
    "train",
]


class Session:
    """Runs commands in a folder, as a user would.

    Args:
        python: the interpreter of the environment under test.
        folder: an empty folder; `recipes/` is copied into it.
        call: runs `metacli ARGS...` of the checkout in the folder; None for that of the environment.
    """

    def __init__(self, python: str, folder: Path, call: Callable[..., subprocess.CompletedProcess[str]] | None = None):
        self.python, self.folder, self.call = python, folder, call or self._call
        self.env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "80"}
        if call:
            self.env["PYTHONPATH"] = str(ROOT)
        shutil.copytree(ROOT / "recipes", folder / "recipes")

    def run(self, *args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        """`metacli ARGS...`; asserts its exit status."""
        done = self.call(*args)
        assert done.returncode == code, f"{args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def _call(self, *args: object) -> subprocess.CompletedProcess[str]:
        command = [self.python, "-m", "metacli", *map(str, args)]
        return subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)

    def script(self, text: str) -> str:
        """What a Python script prints."""
        command = [self.python, "-c", text]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def check_commands(session: Session, plot: bool) -> None:
    """Assert what `train`, `eval`, `sample-tasks`, `inspect-memory` and `predict` print and write.

    Args:
        plot: whether the extra `plot` is installed; without it a picture is refused with the command that installs it.
    """
    data = [] if os.environ.get("METACLI_DATA") else ["task.name=strokes"]  # Omniglot itself where it is at hand
    trained = session.run("train", "recipes/omniglot_ntm.yaml", *FEW_STEPS, *data, "--run-dir", "run")
    assert "run run" in trained.stdout

    table = session.run("eval", "--checkpoint", "run", "--tasks", "5").stdout
    assert "D_test accuracy" in table
    assert re.search(r"^│ +4 │.*\d+\.\d %", table, re.M), table  # the row of the fifth task
    assert all(len(line) <= 80 for line in table.splitlines()), table
    result = json.loads(session.run("eval", "--checkpoint", "run", "--tasks", "5", "--json").stdout)
    assert len(result["tasks"]) == 5
    assert 0 <= result["d_test_accuracy"]["mean"] <= 1

    assert "D_train" in session.run("sample-tasks", "strokes_ntm", "-n", "1").stdout
    assert "D_test" in session.run("inspect-memory", "--checkpoint", "run").stdout
    session.run("inspect-memory", "--checkpoint", "run", "--out", "memory", "--format", "npz,html,json")
    assert {path.suffix for path in (session.folder / "memory").iterdir()} == {".npz", ".html", ".json"}

    characters = "examples/characters"  # not in this folder: those that come with the package
    answers = json.loads(
        session.run("predict", f"--support={characters}/support", f"--query={characters}/query", "--json").stdout
    )
    assert len(answers["predictions"]) == 8

    more = session.run("train", "--resume", "run", "train.steps=6")
    assert "step 6" in more.stdout
    assert "0.1.0" in session.run("--version").stdout
    assert "glyphs_transformer" in session.run("models").stdout
    assert "omniglot_ntm" in session.run("recipes", "omniglot").stdout
    assert "run" in session.run("curves", "run").stdout
    check_pictures(session, plot)


def check_pictures(session: Session, plot: bool) -> None:
    """Assert that every picture is written, or refused in a line where matplotlib is missing."""
    for args in (
        ("sample-tasks", "strokes_ntm", "-n", "1", "--png", "tasks.png"),
        ("inspect-memory", "--checkpoint", "run", "--out", "memory", "--format", "png"),
        ("curves", "run", "--png", "curves.png"),
    ):
        done = session.run(*args, code=0 if plot else 1)
        assert plot or "metacli[plot]" in done.stderr, done.stderr


def check_names(session: Session) -> None:
    """Assert that every public name of the package can be imported."""
    names = session.script(f"import metacli\nfor n in {NAMES!r}: print(getattr(metacli, n).__name__)").split()
    assert len(names) == len(NAMES)


def main() -> None:
    """Build both packages and check each in an environment without extras and in one with all."""
    with tempfile.TemporaryDirectory(prefix="metacli-acceptance-") as name:
        place = Path(name)
        subprocess.run([sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "-w", place, ROOT], check=True)
        hatch = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place)]
        subprocess.run(hatch, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for package in (*place.glob("*.whl"), *place.glob("*.tar.gz")):
            for extras in ("", "[all]"):
                label = f"{package.suffix.lstrip('.')}{extras}"
                environment = place / f"venv-{label.strip('[]')}"
                subprocess.run([sys.executable, "-m", "venv", environment], check=True)
                python = str(environment / "bin" / "python")
                wanted = f"metacli{extras} @ {package.as_uri()}"
                constraints = str(ROOT / "constraints.txt")
                subprocess.run([python, "-m", "pip", "-q", "install", "-c", constraints, wanted], check=True)
                folder = place / f"work-{label}"
                folder.mkdir()
                session = Session(python, folder)
                check_names(session)
                check_commands(session, plot=bool(extras))
                shutil.rmtree(environment)
                print(f"{label}: all commands work", flush=True)


if __name__ == "__main__":
    main()
