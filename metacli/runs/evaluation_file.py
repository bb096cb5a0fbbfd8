"""eval.json of a run directory: the result of its best checkpoint on the test split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metacli.checkpoints.file_names import BEST
from metacli.errors import MetacliError
from metacli.runs import run_files
from metacli.system import files, terminal


def save_evaluation(checkpoint: Path, result: dict[str, Any]) -> str:
    """Write the result of a run's best checkpoint on the test split to its eval.json.

    An existing result of the same checkpoint on more tasks of the same data is kept.

    Args:
        checkpoint: the file that was evaluated.
        result: of `eval`, on the checkpoint's own tasks.

    Returns:
        Why it was not written. Empty if it was, or if the checkpoint is not in a run directory.
    """
    folder, result = checkpoint.parent, terminal.round_floats(result)
    path = folder / "eval.json"
    if not (folder / "recipe.yaml").is_file():
        return ""
    if checkpoint.name != BEST or result["split"] != "test":
        return f"{path} holds only results of {BEST} on the test split"
    try:
        previous = terminal.round_floats(run_files.read_json(path) or {})
        is_same = all(previous[key] == result[key] for key in ("step", "split", "recipe", "data", "task_seed"))
        if is_same and Path(previous["checkpoint"]).name == BEST and previous["n_tasks"] > result["n_tasks"]:
            return f"{path} already holds a result on {previous['n_tasks']:,} tasks"
    except (MetacliError, TypeError, KeyError):  # there is none, or a damaged one, which is replaced
        pass
    files.remove_abandoned(folder)
    try:
        run_files.write(path, json.dumps(result, indent=2) + "\n", files.WRITE_HINT)
    except MetacliError as error:
        return error.message
    return ""
