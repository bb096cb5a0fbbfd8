"""The table that `predict` prints, one row per query."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.classifier.prediction import Prediction
from metacli.show.console import printable
from metacli.show.results import shorten
from metacli.tasks.metrics import format_number

MIN_SECOND_PROBABILITY = 0.01  # below it, the second choice is not printed
UNSURE = " (unsure)"


def print_prediction(console: Console, prediction: Prediction) -> None:
    """Prints a table of the answers: class, probability, second choice, and the most attended support example."""
    has_attended = prediction.attended is not None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("query", "answer", "probability", "second choice", *["most attended"] * has_attended):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "probability" else "left")
    cell_width = (console.width - len("probability") - 2 * len(table.columns)) // (len(table.columns) - 1)
    names = [query.path.name for query in prediction.queries]
    if len(set(names)) < len(names):  # from several folders
        names = [str(query.path) for query in prediction.queries]
    for q, row in enumerate(prediction.probabilities):
        first, second = row.argsort()[::-1][:2]
        is_likely = row[second] >= MIN_SECOND_PROBABILITY
        second_choice = f"{prediction.classes[second]} {format_number(row[second], unit='%')}" if is_likely else ""
        mark = UNSURE if prediction.unsure[q] else ""
        answer = shorten(printable(console, prediction.classes[first]), cell_width - len(mark)) + mark
        cells = [names[q], answer, format_number(row[first], unit="%"), second_choice]
        if attended := prediction.most_attended(q):
            cells.append(f"{attended[0]}/{attended[1].path.name}")
        table.add_row(*(Text(shorten(printable(console, cell), cell_width)) for cell in cells))
    console.print(table)
