"""The run directory: recipe.yaml, env.json, metrics.jsonl, last.pt, best.pt, eval.json. Never overwrites a run."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from metacli.config import yaml_file
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import MetacliError, UsageError
from metacli.runs import metrics_log, run_files
from metacli.system import files
from metacli.system.lock import DirectoryLock

_RESUME = "free some space, then go on with --resume"
_UNFINISHED = (".lock", "env.json")  # what a process leaves that is killed before recipe.yaml makes it a run


class RunDir:
    """The files of one training run. Within `with`, this process alone writes them.

    Args:
        path: an existing run directory (see `create` and `reopen`).
        lock: the folder's, where it is held already.
    """

    def __init__(self, path: Path, lock: DirectoryLock | None = None):
        self.path = path
        self.last = path / "last.pt"
        self.best = path / "best.pt"
        self._metrics = path / "metrics.jsonl"
        self._lock = lock

    @classmethod
    def create(cls, path: Path | None, recipe: Recipe, environment: dict[str, Any]) -> RunDir:
        """A new run directory, held; without a path `runs/<recipe>/<date>-<time>-seed<seed>`.

        Raises:
            UsageError: something is there already, or another process makes it at this moment.
            MetacliError: it cannot be written; nothing is left of it.
        """
        if path is None:
            path = Path("runs") / recipe.name / f"{time.strftime('%Y%m%d-%H%M%S')}-seed{recipe.seed}"
            path, made = _claimed(path), True
        else:
            refuse_taken(path)
            made = _make(path)
        lock = None
        try:
            lock = _locked(path)
            refuse_taken(path)  # by another process, before it was locked
            files.sweep(path)
            cls(path)._keep(environment, recipe, "choose another: --run-dir")
        except BaseException as error:
            if lock is not None:
                if not isinstance(error, UsageError):  # that is of a run that stands there
                    with contextlib.suppress(OSError):  # read-only by now
                        (path / "env.json").unlink(missing_ok=True)
                lock.release()
            if made:
                with contextlib.suppress(OSError):  # another process has put something there
                    path.rmdir()
            raise
        return cls(path, lock)

    @classmethod
    def reopen(cls, path: Path) -> tuple[RunDir, Recipe]:
        """An existing run directory, not held, and its recipe.

        Raises:
            UsageError: it is no run directory, or its recipe is damaged.
        """
        file = path / "recipe.yaml"
        hint = f"bring it back as it was: {path / 'last.pt'} holds the same recipe"
        content = run_files.read(file, hint)
        if content is None:
            raise UsageError(f"{path} is not a run directory: it holds no recipe.yaml", "ls runs/*/")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{file}: damaged: not UTF-8", hint) from None
        try:
            tree = yaml_file.parse(text, str(file))
            if not isinstance(tree, dict):
                raise UsageError(f"{file}: {'empty' if tree is None else 'damaged: not a mapping of keys'}")
            return cls(path), recipe_from_dict(tree, str(file))
        except UsageError as e:
            raise UsageError(e.message, e.hint or hint) from None

    def __enter__(self) -> RunDir:
        """Hold it, and remove what a killed process has left.

        Raises:
            UsageError: another process trains in it.
            MetacliError: it cannot be written.
        """
        if self._lock is None:
            run_files.check_writable(self.path / "env.json", self._metrics, self.last, self.best)
            self._lock = _locked(self.path)
            files.sweep(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def guarded(self) -> bool:
        """Whether another process is kept out, within `with`."""
        return self._lock is not None and self._lock.is_exclusive

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        files.append(self._metrics, json.dumps(record) + "\n", _RESUME)

    def sync(self) -> None:
        """Have the lines of metrics.jsonl on the disk."""
        files.sync(self._metrics)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that a crash cut short is left out.

        Raises:
            MetacliError: it is damaged otherwise.
        """
        return metrics_log.read(self._metrics)

    def environment(self) -> dict[str, Any]:
        """What env.json tells; empty where there is none.

        Raises:
            UsageError: it is damaged.
        """
        hint = "bring it back, or take it away: a run goes on without it"
        return run_files.read_json(self.path / "env.json", hint) or {}

    def change(self, recipe: Recipe, told: dict[str, Any]) -> None:
        """Go by a changed recipe from now on, and tell of it under `changes` in env.json.

        Raises:
            MetacliError: it cannot be written; the run is then as it was, but for that line.
        """
        found = self.environment()
        earlier = found.get("changes", [])
        earlier = earlier if isinstance(earlier, list) else [earlier]
        found["changes"] = earlier if earlier[-1:] == [told] else [*earlier, told]  # a crash may have come between
        self._keep(found, recipe, "free some space")

    def _keep(self, environment: dict[str, Any], recipe: Recipe, hint: str) -> None:
        run_files.write(self.path / "env.json", json.dumps(environment, indent=2) + "\n", hint)
        run_files.write(
            self.path / "recipe.yaml", yaml_file.dump(recipe.as_dict()), hint
        )  # last: it makes the folder a run

    def threads(self) -> int | None:
        """How many the run computed with lately; None before its first line of metrics.jsonl."""
        records = self.metrics()
        return records[-1].get("threads") if records else None

    def launched_by(self) -> str:
        """The torchrun that the run was begun by, see `metacli.compute.torchrun.launch_id`; empty without."""
        try:
            return str(self.environment().get("launch", ""))
        except MetacliError:
            return ""

    def rewind(self, step: int) -> None:
        """Drop the lines of metrics.jsonl that came after `step`."""
        kept = [r for r in self.metrics() if r["step"] <= step]
        run_files.write(self._metrics, "".join(json.dumps(r) + "\n" for r in kept), _RESUME)


def refuse_taken(path: Path) -> None:
    """Raise a UsageError where something stands at a path, but for a folder that is empty or was never a run."""
    if os.path.exists(path) and (not path.is_dir() or any(_counts(child.name) for child in path.iterdir())):
        raise UsageError(f"{path} exists already", "name another folder, or go on with it: --resume")


def _counts(name: str) -> bool:
    return name not in _UNFINISHED and not files.is_part(name)


def _claimed(path: Path) -> Path:
    """A folder that is made now, at this path or at the first with a number behind it."""
    place, twin = path, 2
    while not _make(place):
        place, twin = path.with_name(f"{path.name}-{twin}"), twin + 1
    return place


def _make(path: Path) -> bool:
    """Make a folder and those above; whether it was not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if path.is_dir():
            return False
        raise MetacliError(f"cannot write the run directory {path}: a file is in its way", _ELSEWHERE) from None
    except OSError as e:
        raise MetacliError(f"cannot write the run directory {path}: {e.strerror}", _ELSEWHERE) from None
    return True


_ELSEWHERE = "choose another place: --run-dir"


def _locked(path: Path) -> DirectoryLock:
    try:
        return DirectoryLock(path)
    except OSError as e:
        raise MetacliError(f"cannot write the run directory {path}: {e.strerror}", _ELSEWHERE) from None


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
        before = run_files.read_json(path) or {}
        same = all(before[key] == result[key] for key in ("step", "split", "recipe"))
        if same and Path(before["checkpoint"]).name == "best.pt" and before["n_tasks"] > result["n_tasks"]:
            return f"{path} holds {before['n_tasks']:,} tasks"
    except (MetacliError, TypeError, KeyError):  # none yet, or a damaged one, which is replaced
        pass
    files.sweep(folder)
    try:
        run_files.write(path, json.dumps(result, indent=2) + "\n", files.HINT)
    except MetacliError as e:
        return e.message
    return ""
