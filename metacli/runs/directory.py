"""The run directory: recipe.yaml, env.json, metrics.jsonl, {last,best}.safetensors, eval.json. Never overwrites one."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from metacli.checkpoints.file_names import BEST, LAST
from metacli.config import yaml_file
from metacli.config.recipe import Recipe, recipe_from_dict
from metacli.errors import MetacliError, UsageError
from metacli.runs import metrics_log, run_files
from metacli.system import files
from metacli.system.lock import DirectoryLock

_FREE_SPACE = "free some space, then resume the run: --resume"
_LIST_RUNS = "list the run directories: ls -d runs/*/*"
_OTHER_PLACE = "choose another folder: --run-dir"
_UNFINISHED = (".lock", "env.json")  # left by a process that is killed before recipe.yaml makes the folder a run


class RunDirectory:
    """The files of one training run. Within `with`, only this process writes them.

    Args:
        path: an existing run directory (see `create` and `open`).
        lock: of the folder, if it is held already.

    Attributes:
        path: the folder.
        last: the checkpoint that a resumed run continues from.
        best: the checkpoint with the best validation score.
    """

    def __init__(self, path: Path, lock: DirectoryLock | None = None):
        self.path = path
        self.last = path / LAST
        self.best = path / BEST
        self._metrics = path / "metrics.jsonl"
        self._environment = path / "env.json"
        self._lock = lock

    @classmethod
    def create(cls, path: Path | None, recipe: Recipe, environment: dict[str, Any]) -> RunDirectory:
        """Create a run directory and lock it.

        Args:
            path: where; None for `runs/<recipe>/<date>-<time>-seed<seed>`.
            recipe: written to recipe.yaml.
            environment: written to env.json.

        Raises:
            UsageError: something exists there, or another process creates it at this moment.
            MetacliError: it cannot be written. Nothing is left of it.
        """
        if path is None:
            path = Path("runs") / recipe.name / f"{time.strftime('%Y%m%d-%H%M%S')}-seed{recipe.seed}"
            path, is_new = _make_numbered_folder(path), True
        else:
            check_unused(path)
            is_new = _make_folder(path)
        lock = None
        try:
            lock = _lock(path)
            check_unused(path)  # another process may have created it before it was locked
            files.remove_abandoned(path)
            cls(path)._write(environment, recipe, _OTHER_PLACE)
        except BaseException as error:
            if lock is not None:
                if not isinstance(error, UsageError):  # then it is the run of another process
                    with contextlib.suppress(OSError):  # read-only by now
                        (path / "env.json").unlink(missing_ok=True)
                lock.release()
            if is_new:
                with contextlib.suppress(OSError):  # another process has put something there
                    path.rmdir()
            raise
        return cls(path, lock)

    @classmethod
    def open(cls, path: Path) -> tuple[RunDirectory, Recipe]:
        """Returns an existing run directory, not locked, and its recipe.

        Raises:
            UsageError: it is not a run directory, or its recipe is damaged.
            MetacliError: recipe.yaml cannot be read.
        """
        file = path / "recipe.yaml"
        hint = f"restore it: {path / LAST} holds the same recipe"
        content = run_files.read(file, hint)
        if content is None:
            if not os.path.exists(path):
                raise UsageError(f"no such folder: {path}", _LIST_RUNS)
            raise UsageError(f"{path} is not a run directory: it holds no recipe.yaml", _LIST_RUNS)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise UsageError(f"{file}: damaged: not UTF-8", hint) from None
        try:
            tree = yaml_file.parse(text, str(file))
            if not isinstance(tree, dict):
                raise UsageError(f"{file}: {'empty' if tree is None else 'damaged: not a mapping of keys'}")
            return cls(path), recipe_from_dict(tree, str(file))
        except UsageError as error:
            raise UsageError(error.message, error.hint or hint) from None

    def __enter__(self) -> RunDirectory:
        """Lock it, and remove what a killed process has left.

        Raises:
            UsageError: another process trains in it.
            MetacliError: it cannot be written, or one of its files is not a regular file.
        """
        if self._lock is None:
            run_files.check_writable(self._environment, self._metrics, self.last, self.best)
            self._lock = _lock(self.path)
            files.remove_abandoned(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def is_exclusive(self) -> bool:
        """Whether other processes are kept out, within `with`."""
        return self._lock is not None and self._lock.is_exclusive

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        files.append(self._metrics, json.dumps(record) + "\n", _FREE_SPACE)

    def sync_metrics(self) -> None:
        """Write metrics.jsonl through to the disk."""
        files.sync(self._metrics)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the records of metrics.jsonl, without a last line that a crash cut short.

        Raises:
            MetacliError: it is damaged otherwise.
        """
        return metrics_log.read(self._metrics)

    def rewind_metrics(self, step: int) -> None:
        """Remove the lines of metrics.jsonl after `step`."""
        records = [record for record in self.read_metrics() if record["step"] <= step]
        run_files.write(self._metrics, "".join(json.dumps(record) + "\n" for record in records), _FREE_SPACE)

    def last_threads(self) -> int | None:
        """Returns the number of threads in the last line of metrics.jsonl, None without one."""
        records = self.read_metrics()
        return records[-1].get("threads") if records else None

    def read_environment(self) -> dict[str, Any]:
        """Returns the content of env.json, empty if there is no such file.

        Raises:
            MetacliError: it is damaged.
        """
        return run_files.read_json(self._environment, "restore it, or move it away: training does not need it") or {}

    def launch_id(self) -> str:
        """Returns the `torchrun.launch_id` of the launch that created the run, empty without torchrun."""
        try:
            return str(self.read_environment().get("launch", ""))
        except MetacliError:
            return ""

    def change_recipe(self, recipe: Recipe, change: dict[str, Any]) -> None:
        """Replace the recipe, and record the change under `changes` in env.json.

        Raises:
            MetacliError: it cannot be written. Then the recipe is the old one, but the change may be recorded.
        """
        environment = self.read_environment()
        earlier = environment.get("changes", [])
        earlier = earlier if isinstance(earlier, list) else [earlier]
        # A crash between the two files leaves the change recorded, and the next attempt must not record it twice.
        environment["changes"] = earlier if earlier[-1:] == [change] else [*earlier, change]
        self._write(environment, recipe, "free some space")

    def _write(self, environment: dict[str, Any], recipe: Recipe, hint: str) -> None:
        run_files.write(self._environment, json.dumps(environment, indent=2) + "\n", hint)
        # recipe.yaml comes last, as it makes the folder a run directory.
        run_files.write(self.path / "recipe.yaml", yaml_file.dump(recipe.as_dict()), hint)


def check_unused(path: Path) -> None:
    """Check that a path is free: absent, an empty folder, or a folder that never became a run.

    Raises:
        UsageError: something else is there.
    """
    if os.path.exists(path) and (not path.is_dir() or any(_is_kept(child.name) for child in path.iterdir())):
        raise UsageError(f"{path} exists already", "name another folder, or resume the run: --resume")


def _is_kept(name: str) -> bool:
    return name not in _UNFINISHED and not files.is_temporary_name(name)


def _make_numbered_folder(path: Path) -> Path:
    """Make a new folder at this path, or at the first free one with a number appended."""
    candidate, number = path, 2
    while not _make_folder(candidate):
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def _make_folder(path: Path) -> bool:
    """Make a folder and its parents. Returns False if it exists already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if path.is_dir():
            return False
        raise MetacliError(f"cannot write the run directory {path}: a file is in its way", _OTHER_PLACE) from None
    except OSError as error:
        raise MetacliError(f"cannot write the run directory {path}: {error.strerror}", _OTHER_PLACE) from None
    return True


def _lock(path: Path) -> DirectoryLock:
    try:
        return DirectoryLock(path)
    except OSError as error:
        raise MetacliError(f"cannot write the run directory {path}: {error.strerror}", _OTHER_PLACE) from None
