"""Read metrics.jsonl back: one JSON object per line, each with its step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metacli.errors import MetacliError
from metacli.runs import run_files

_HINT = "repair that line, or move the file away: training does not need it"
_LARGEST = 2**53  # the largest whole number that a float represents, with all below it


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records of the file, none if there is no file.

    A last line without a newline was cut short by a crash. It is ignored unless it is complete.

    Raises:
        MetacliError: the file cannot be read, or a line is not a record. Names the first such line.
    """
    *lines, last_line = (run_files.read(path, _HINT) or b"").split(b"\n")
    records = [_parse(line) for line in lines]
    if None in records:
        raise MetacliError(f"{path}, line {records.index(None) + 1}: damaged: not a record of a run", _HINT)
    return [record for record in (*records, _parse(last_line)) if record is not None]


def _parse(line: bytes) -> dict[str, Any] | None:
    """Returns a line as a record, None if it is not one."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return record if _is_record(record) else None


def _is_record(value: Any) -> bool:
    """Whether a value maps names to numbers, `val` to another such mapping; `step` and `threads` count from 1."""
    if not isinstance(value, dict) or not isinstance(value.get("val", {}), dict):
        return False
    counts = (value.get("step"), value.get("threads", 1))
    numbers = [number for key, number in value.items() if key != "val"] + [*value.get("val", {}).values()]
    return all(type(n) is int and n > 0 for n in counts) and all(_is_number(n) for n in numbers)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= _LARGEST)
