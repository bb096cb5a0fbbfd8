"""`python -m tests.own`: errors of a model that is taught new classes, from the top of a clone."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import metacli
from metacli.evaluation.confidence import mean_ci95
from metacli.tasks.images.preprocess import prepare
from tests.own import alphabets, digits, official, results, unsure
from tests.own.alphabets import Run

EXAMPLES = """examples:
  python -m tests.own alphabets --runs 200 --orders 1 10 50     20-way one-shot within one alphabet, by orders
  python -m tests.own alphabets --ways 5 --shots 3              other numbers
  python -m tests.own official all_runs.zip             the 20 official runs of Lake et al. 2015
  python -m tests.own digits                                    digits drawn in many ways, prepared and not
  python -m tests.own results --write                           tables of docs/results.md (--help for its options)
  python -m tests.own unsure --split val --runs 60              calibration, and marks of unsure answers
"""


def main() -> None:
    """Parse, measure, print."""
    if sys.argv[1:2] == ["results"]:
        return results.main(sys.argv[2:])
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["alphabets", "official", "digits", "unsure"])
    parser.add_argument("file", nargs="?", type=Path, help="all_runs.zip, for official")
    parser.add_argument("-c", "--checkpoint", default="glyphs_transformer")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--orders", type=int, nargs="+", default=[10])
    parser.add_argument("--ways", type=int, default=20)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=["val", "test"], default="val", help="unsure: held-out alphabets")
    parser.add_argument("--sizes", default="2,1 5,1 5,5 10,1 20,1 20,5", help="unsure: ways,shots of the tasks")
    o = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    if o.what == "digits":
        return digits_table(console, o)
    if o.what == "unsure":
        sizes = [[int(n) for n in size.split(",")] for size in o.sizes.split()]
        return unsure.print_tables(o.checkpoint, o.split, o.runs, o.seed, sizes)
    if o.what == "official":
        if o.file is None:
            parser.error("official needs the file all_runs.zip")
        tasks = list(official.runs(o.file))
        title = f"the official runs, {len(tasks)} runs"
    else:
        tasks = list(alphabets.runs(o.runs, o.ways, o.shots, o.seed))
        title = f"{o.ways}-way {o.shots}-shot within one alphabet, {o.runs} runs"
    table = Table("orders", "error", "seconds a run", title=title)
    for orders in o.orders:
        begin = time.perf_counter()
        wrong = errors(o.checkpoint, orders, tasks)
        table.add_row(str(orders), said(wrong), f"{(time.perf_counter() - begin) / len(tasks):.2f}")
    console.print(table)


def digits_table(console: Console, o: argparse.Namespace) -> None:
    """Prepared as always, and with every picture only resized."""
    title = f"10 digits, one example each, {o.runs} runs"
    table = Table("drawn", "error, prepared", "error, resized only", title=title)
    as_it_is, plain = prepare.normalize_characters, prepare.resize_images
    for way in digits.WAYS:
        tasks = digits.runs(o.runs, way, o.seed)
        cells = []
        for characters in (as_it_is, plain):
            prepare.normalize_characters = characters
            cells.append(said(errors(o.checkpoint, o.orders[0], tasks)))
        table.add_row(way, *cells)
    prepare.normalize_characters = as_it_is
    console.print(table)


def errors(checkpoint: str, orders: int, tasks: Iterable[Run]) -> list[float]:
    """The share of wrong answers in each task."""
    wrong: list[Any] = []
    for run in tasks:
        learner = metacli.load(checkpoint, orders=orders).fit(run.support, run.labels)
        wrong.append(np.mean(learner.predict(run.queries) != np.array(run.answers)))
    return wrong


def said(wrong: list[float]) -> str:
    """The mean with its 95 % interval over runs."""
    mean, half = mean_ci95(np.array(wrong))
    return f"{100 * mean:.2f} ± {100 * half:.2f} %"


if __name__ == "__main__":
    main()
