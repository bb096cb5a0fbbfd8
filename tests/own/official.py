"""The 20 official runs of the one-shot classification task of Omniglot (Lake et al. 2015)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.own.alphabets import Run, opened

RUNS = 20


def runs(file: Path) -> Iterator[Run]:
    """Yields the runs of `all_runs.zip`: 20 characters of one alphabet, one support picture and one query of each.

    A line of `class_labels.txt` holds the path of a query and that of the support picture of its class.
    """
    with zipfile.ZipFile(file) as archive:
        for number in range(1, RUNS + 1):
            lines = archive.read(f"run{number:02}/class_labels.txt").decode().split("\n")
            queries, support = zip(*(line.split() for line in lines if line.strip()), strict=True)
            pictures = {name: opened(archive.read(name)) for name in (*queries, *support)}
            labels = sorted(support)
            yield Run([pictures[s] for s in labels], labels, [pictures[q] for q in queries], list(support))
