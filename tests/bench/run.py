"""All cases on one machine: built, timed on each number of threads, put beside each other, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tqdm import tqdm

from tests.bench import limit, peak
from tests.bench.case import OURS, Case, Side, Work
from tests.bench.limit import Arithmetic
from tests.bench.timing import Timing, measure

PRODUCT, LARGE = "product of its size", "large product"

Key = tuple[str, str]  # (case, side)


def run_cases(cases: list[Case], threads: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """What `report` describes under `cases`.

    Args:
        threads: how many, one measurement after the other.
        rounds: see `timing.measure`.
        seconds: see `timing.measure`.
    """
    torch.set_num_threads(1)  # what is not timed should not wait for cores that others hold
    works = {case.name: case.make() for case in _bar(cases, "build")}
    memory = peak.peaks([(name, side) for name, work in works.items() for side in _there(work)])
    sums = {name: limit.count(work.counted) for name, work in works.items() if work.counted}
    timings = {n: _timed(works, sums, n, rounds, seconds) for n in threads}
    return [_case(case, works[case.name], timings, memory, sums.get(case.name)) for case in cases]


def _timed(works: dict[str, Work], sums: dict[str, Arithmetic], n: int, rounds: int, s: float) -> dict[Key, Timing]:
    sides: dict[Key, Side] = {}
    for name, work in works.items():
        sides |= {(name, side): each for side, each in work.sides.items()}
        if name in sums:
            sides[name, PRODUCT] = limit.product(sums[name].shape)
    if sums:
        sides[LARGE, LARGE] = limit.product(limit.LARGE)
    torch.set_num_threads(n)
    turns = rounds * sum(not side.missing for side in sides.values())
    with tqdm(total=turns, desc=f"{n} thread{'s' * (n > 1)}", disable=None) as bar:
        return measure(sides, rounds, s, bar.update)


def _case(
    case: Case,
    work: Work,
    timings: dict[int, dict[Key, Timing]],
    memory: dict[Key, float | None],
    sums: Arithmetic | None,
) -> dict[str, Any]:
    mine = work.sides[OURS]
    sides: dict[str, Any] = {}
    for name, side in work.sides.items():
        if side.missing:
            sides[name] = {"missing": side.missing}
            continue
        rows = {n: _row(case, side, t[case.name, name], mine, t[case.name, OURS]) for n, t in timings.items()}
        sides[name] = {"peak_mib": memory[case.name, name], "threads": rows}
    target = case.target and {"over": case.target.over, "quotient": case.target.quotient}
    result = {"name": case.name, "title": case.title, "unit": case.unit, "target": target, "sides": sides}
    if sums:
        result["limit"] = _limit(case, mine, timings, sums)
    return result


def _row(case: Case, side: Side, timing: Timing, mine: Side, ours: Timing) -> dict[str, Any]:
    """One side on one number of threads; the quotient is how many times as fast ours is, per question or episode."""
    share = mine.amount / side.amount
    by_round = [theirs / own * share for theirs, own in zip(timing.rounds, ours.rounds, strict=True)]
    return {
        "value": case.value(timing.median, side.amount),
        "seconds": {"median": timing.median, "low": timing.low, "high": timing.high, "runs": timing.runs},
        "quotient": timing.median / ours.median * share,
        "quotient_by_round": {"low": min(by_round), "high": max(by_round)},
    }


def _limit(case: Case, mine: Side, timings: dict[int, dict[Key, Timing]], sums: Arithmetic) -> dict[str, Any]:
    rows = {}
    for n, t in timings.items():
        rates = [
            limit.product(shape).amount / t[key].median
            for key, shape in (((case.name, PRODUCT), sums.shape), ((LARGE, LARGE), limit.LARGE))
        ]
        least = sums.total / rates[0]
        rows[n] = {
            "value": case.value(least, mine.amount),
            "quotient": least / t[case.name, OURS].median,
            "flops_per_s": rates[0],
            "flops_per_s_large": rates[1],
        }
    return {"products": sums.products, "others": sums.others, "shape": list(sums.shape), "threads": rows}


def _there(work: Work) -> Iterable[str]:
    return (name for name, side in work.sides.items() if not side.missing)


def _bar(items: list[Any], what: str) -> Iterable[Any]:
    return tqdm(items, desc=what, disable=None)
