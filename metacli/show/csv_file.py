"""Save a result as a CSV file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from metacli.system import outputs, terminal


def save_table(path: Path, rows: list[dict[str, Any]], columns: list[str]) -> None:
    """Saves rows under a line of column names, in UTF-8. Floats have six significant digits; None is an empty cell.

    Characters that are not text, as in a file name that is not UTF-8, are escaped.

    Raises:
        MetacliError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(terminal.round_floats(rows))
    outputs.write_output(path, text.getvalue())
