"""The run directory: recipe.yaml, env.json, metrics.jsonl, last.pt, best.pt, eval.json. Never overwrites a run."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from metacli.config import yamlfile
from metacli.config.recipe import Recipe, from_dict
from metacli.errors import MetacliError, UsageError
from metacli.machine.files import atomic_write


class RunDir:
    """The files of one training run.

    Args:
        path: an existing run directory (see `create` and `reopen`).
    """

    def __init__(self, path: Path):
        self.path = path
        self.last = path / "last.pt"
        self.best = path / "best.pt"
        self._metrics = path / "metrics.jsonl"

    @classmethod
    def create(cls, path: Path | None, recipe: Recipe, environment: dict[str, Any]) -> RunDir:
        """A new run directory; without a path `runs/<recipe>/<date>-<time>-seed<seed>`.

        Raises:
            UsageError: something is there already.
            MetacliError: it cannot be written.
        """
        if path is None:
            stamp = Path("runs") / recipe.name / f"{time.strftime('%Y%m%d-%H%M%S')}-seed{recipe.seed}"
            path, twin = stamp, 2
            while os.path.exists(path):
                path, twin = stamp.with_name(f"{stamp.name}-{twin}"), twin + 1
        refuse_taken(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            cls(path)._keep(environment, recipe)
        except OSError as e:
            raise MetacliError(
                f"cannot write the run directory {path}: {e.strerror}", "choose one: --run-dir"
            ) from None
        return cls(path)

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunDir, Recipe]:
        """An existing run directory and its recipe.

        Raises:
            UsageError: it is no run directory.
        """
        file = path / "recipe.yaml"
        if not os.path.isfile(file):
            raise UsageError(f"{path} is not a run directory: it holds no recipe.yaml", "ls runs/*/")
        return cls(path), from_dict(yamlfile.parse(file.read_text(encoding="utf-8"), str(file)), str(file))

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        try:
            with open(self._metrics, "a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as e:
            raise MetacliError(
                f"cannot write {self._metrics}: {e.strerror}", "free some space, then --resume"
            ) from None

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that a crash cut short is left out."""
        records = []
        lines = self._metrics.read_text(encoding="utf-8").splitlines() if self._metrics.is_file() else []
        for line in lines:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def environment(self) -> dict[str, Any]:
        """What env.json tells; empty where there is none.

        Raises:
            UsageError: it is damaged.
        """
        path = self.path / "env.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        except FileNotFoundError:
            return {}
        except ValueError:
            pass
        raise UsageError(f"{path}: damaged: no JSON object", "bring it back, or take it away: a run goes on without it")

    def change(self, recipe: Recipe, told: dict[str, Any]) -> None:
        """Go by a changed recipe from now on, and tell of it under `changes` in env.json.

        Raises:
            MetacliError: it cannot be written; the run is then as it was, but for that line.
        """
        found = self.environment()
        earlier = found.get("changes", [])
        earlier = earlier if isinstance(earlier, list) else [earlier]
        found["changes"] = earlier if earlier[-1:] == [told] else [*earlier, told]  # a crash may have come between
        try:
            self._keep(found, recipe)
        except OSError as e:
            raise MetacliError(f"cannot change the run {self.path}: {e.strerror}", "free some space") from None

    def _keep(self, environment: dict[str, Any], recipe: Recipe) -> None:
        for name, text in (
            ("env.json", json.dumps(environment, indent=2) + "\n"),
            ("recipe.yaml", yamlfile.dump(recipe.as_dict())),  # the last: it makes the folder a run
        ):
            with atomic_write(self.path / name) as part:
                part.write_text(text, encoding="utf-8", newline="\n")

    def threads(self) -> int | None:
        """How many the run computed with lately; None before its first line of metrics.jsonl."""
        records = self.metrics()
        return records[-1].get("threads") if records else None

    def launched_by(self) -> str:
        """The torchrun that the run was begun by, see `metacli.machine.launch.identity`; empty without."""
        try:
            found = json.loads((self.path / "env.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ""
        return str(found.get("launch", "")) if isinstance(found, dict) else ""

    def rewind(self, step: int) -> None:
        """Drop the lines of metrics.jsonl that came after `step`."""
        kept = [r for r in self.metrics() if r["step"] <= step]
        with atomic_write(self._metrics) as part:
            part.write_text("".join(json.dumps(r) + "\n" for r in kept), "utf-8", newline="\n")


def refuse_taken(path: Path) -> None:
    """Raise a UsageError where something stands at a path, but for an empty folder."""
    if os.path.exists(path) and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists already", "name another folder, or go on with it: --resume")


def keep_evaluation(checkpoint: Path, result: dict[str, Any]) -> str:
    """Leave the result of a run's best checkpoint on the test split as its eval.json; what stands there yields to as
    many tasks or more, or to a later best.

    Args:
        checkpoint: the file that was evaluated.
        result: of `eval`, of the checkpoint's own tasks.

    Returns:
        Why it was not kept, empty if it was or the checkpoint is in no run directory.
    """
    folder = checkpoint.parent
    path = folder / "eval.json"
    if not (folder / "recipe.yaml").is_file():
        return ""
    if checkpoint.name != "best.pt" or result["split"] != "test":
        return f"{path} is for best.pt on the test split"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same = all(before[key] == result[key] for key in ("step", "split", "recipe"))
        if same and Path(before["checkpoint"]).name == "best.pt" and before["n_tasks"] > result["n_tasks"]:
            return f"{path} holds {before['n_tasks']:,} tasks"
    except (OSError, ValueError, TypeError, KeyError):  # none yet, or one that is of no use
        pass
    try:
        with atomic_write(path) as part:
            part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8", newline="\n")
    except OSError as e:
        return f"cannot write {path}: {e.strerror}"
    return ""
