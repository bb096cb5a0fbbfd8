"""metrics.jsonl read back: one JSON object a line, each with its step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metacli.errors import MetacliError
from metacli.system import regular_files


def read(path: Path) -> list[dict[str, Any]]:
    """All lines of the file, none where there is no file.

    A last line without its end was cut short by a crash, and is left out.

    Raises:
        MetacliError: it cannot be read, or a line is not what a run writes; names the first.
    """
    try:
        whole = regular_files.content(path) if path.exists() else b""
    except OSError as e:
        raise MetacliError(f"cannot read {path}: {e.strerror or e}", _HINT) from None
    *lines, rest = whole.split(b"\n")
    found = [_record(line) for line in lines]
    if None in found:
        raise MetacliError(f"{path}, line {found.index(None) + 1}: damaged: not what a run writes", _HINT)
    last = _record(rest)  # whole where only its end is missing
    return [record for record in (*found, last) if record is not None]


_HINT = "repair that line, or move the file away: training needs it not"


def _record(line: bytes) -> dict[str, Any] | None:
    """A line as what a run writes; None if it is something else."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    counts = record.get("step"), record.get("threads", 1)
    return record if all(type(n) is int and n > 0 for n in counts) else None
