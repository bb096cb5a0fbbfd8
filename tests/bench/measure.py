"""Builds and times all cases on each number of threads; returns the results as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tqdm import tqdm

from tests.bench import floor, peak
from tests.bench.case import OURS, Case, Implementation, Workload
from tests.bench.timing import Timing, measure

Key = tuple[str, str]  # (case, implementation)
Rates = dict[torch.dtype, float]


def run_cases(cases: list[Case], threads: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Returns the results of the cases.

    Args:
        threads: numbers of threads, measured one after the other.
        rounds: see `timing.measure`.
        seconds: see `timing.measure`.
    """
    torch.set_num_threads(1)  # building and counting should not wait for busy cores
    workloads = {case.name: case.build() for case in _show_progress(cases, "build")}
    memory = peak.peaks([(name, row) for name, workload in workloads.items() for row in workload.implementations])
    counts = {name: floor.count(work.counted) for name, work in workloads.items() if work.counted}
    precisions = {dtype for operations in counts.values() for dtype in operations}
    timings, rates = {}, {}
    for n in threads:
        timings[n], rates[n] = _time_all(workloads, precisions, n, rounds, seconds)
    results = []
    for case in cases:
        result = _summarise(case, workloads[case.name], timings, memory)
        if case.name in counts:
            result["floor"] = _floor(case, workloads[case.name], timings, counts[case.name], rates)
        results.append(result)
    return results


def _time_all(
    workloads: dict[str, Workload], precisions: set[torch.dtype], threads: int, rounds: int, seconds: float
) -> tuple[dict[Key, Timing], Rates]:
    """Returns the timings of all implementations, and the highest rate of products in each precision."""
    rows: dict[Key, Implementation] = {
        (case, name): row for case, workload in workloads.items() for name, row in workload.implementations.items()
    }
    products = {(str(dtype), name): row for dtype in precisions for name, row in floor.large_products(dtype).items()}
    torch.set_num_threads(threads)
    turns = rounds * (len(rows) + len(products))
    with tqdm(total=turns, desc=f"{threads} thread{'s' * (threads > 1)}", disable=None) as bar:
        timings = measure({**rows, **products}, rounds, seconds, bar.update)
    rates = {
        dtype: max(row.amount / timings[key].fastest for key, row in products.items() if key[0] == str(dtype))
        for dtype in precisions
    }
    return {key: timings[key] for key in rows}, rates


def _summarise(
    case: Case, workload: Workload, timings: dict[int, dict[Key, Timing]], memory: dict[Key, float | None]
) -> dict[str, Any]:
    ours = workload.implementations[OURS]
    implementations: dict[str, Any] = {}
    for name, row in workload.implementations.items():
        figures = {n: _compare(case, row, t[case.name, name], ours, t[case.name, OURS]) for n, t in timings.items()}
        implementations[name] = {"peak_mib": memory[case.name, name], "threads": figures}
    target = case.target and {"reference": case.target.reference, "quotient": case.target.quotient}
    facts = {"name": case.name, "title": case.title, "unit": case.unit, "target": target}
    return {**facts, "implementations": implementations}


def _compare(case: Case, row: Implementation, timing: Timing, ours: Implementation, our: Timing) -> dict[str, Any]:
    """Returns the figures of one implementation; its quotient says how many times as fast metacli is."""
    share = ours.amount / row.amount
    by_round = [theirs / own * share for theirs, own in zip(timing.rounds, our.rounds, strict=True)]
    return {
        "value": case.value(timing.median, row.amount),
        "seconds": {"median": timing.median, "low": timing.low, "high": timing.high, "runs": timing.runs},
        "quotient": timing.median / our.median * share,
        "quotient_by_round": {"low": min(by_round), "high": max(by_round)},
    }


def _floor(
    case: Case,
    workload: Workload,
    timings: dict[int, dict[Key, Timing]],
    operations: floor.Operations,
    rates: dict[int, Rates],
) -> dict[str, Any]:
    """Returns the floor, its share of our time, and the names of the implementations that are below it."""
    rows = {}
    amount = workload.implementations[OURS].amount
    for n, t in timings.items():
        seconds = floor.seconds(operations, rates[n])
        rows[n] = {
            "value": case.value(seconds, amount),
            "share": seconds / t[case.name, OURS].median,
            "operations_per_s": {_name(dtype): rates[n][dtype] for dtype in operations},
            "exceeded_by": [
                name
                for name, row in workload.implementations.items()
                if t[case.name, name].median / row.amount < seconds / amount
            ],
        }
    return {"operations": {_name(dtype): number for dtype, number in operations.items()}, "threads": rows}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _show_progress(items: list[Any], description: str) -> Iterable[Any]:
    return tqdm(items, desc=description, disable=None)
