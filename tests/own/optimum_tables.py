"""The tables of docs/optimum.md, from the entries of docs/results/."""

from __future__ import annotations

from typing import Any

from metacli.tasks.metrics import format_number
from tests.own import result_tables
from tests.own.result_tables import NAMES, Entries, training

MODELS = ("lstm", "transformer", "snail", "ntm", "mann", "dnc", "deltanet")


def build_tables(entries: Entries) -> dict[str, str]:
    """Returns every table as Markdown, by its name."""
    tables = {"optimum-sequences": sequences(entries), "optimum-linear": linear(entries), "optimum-gp": gp(entries)}
    return {name: result_tables.markdown(rows) for name, rows in tables.items()}


def sequences(entries: Entries) -> list[list[str]]:
    """Distance from the optimum of `coin` and `markov`: models, then baselines, then what the optimum costs."""
    tasks = ("coin", "markov")
    rows = [["model", "`coin`", "steps, time", "`markov`", "steps, time"]]
    for model in MODELS:
        cells = [[above_optimum(entries, f"{t}_{model}"), _training(entries, f"{t}_{model}")] for t in tasks]
        rows.append([NAMES[model].partition(",")[0], *cells[0], *cells[1]])
    for column, task in enumerate(tasks):
        for name, cell in _baselines(entries, task):
            rows.append([f"`{name}`", *([cell, "", "", ""] if column == 0 else ["", "", cell, ""])])
    costs = [_optimum(entries, task) for task in tasks]
    return [*rows, ["cost of the optimum", costs[0], "", costs[1], ""]]


def linear(entries: Entries) -> list[list[str]]:
    """Distance from the optimum of `linear` in 5 dimensions: over the stream, and after 5 and 10 examples."""
    rows = [["predictor", "above the optimum", "after 5 examples", "after 10 examples", "steps, time"]]
    rows.append(["optimum", "0", "0", "0", ""])
    for model in MODELS:
        key = f"linear_{model}"
        if key in entries:
            curve = entries[key]["scores"]["above_optimum_by_examples_seen"]
            after = [format_number(curve[k]["mean"], curve[k]["ci95"]) for k in (5, 10)]
            rows.append([f"`{key}`", above_optimum(entries, key), *after, _training(entries, key)])
    return rows + [[f"`{name}`", cell, "", "", ""] for name, cell in _baselines(entries, "linear")]


def gp(entries: Entries) -> list[list[str]]:
    """Loss on `gp`, and its distance from the optimum."""
    rows = [["predictor", "loss", "above the optimum", "steps, time"], ["optimum", _optimum(entries, "gp"), "0", ""]]
    for model in MODELS:
        key = f"gp_{model}"
        if key in entries:
            loss = entries[key]["scores"]["d_test_loss"]
            cells = [format_number(loss["mean"], loss["ci95"]), above_optimum(entries, key)]
            rows.append([f"`{key}`", *cells, _training(entries, key)])
    return rows + [[f"`{name}`", "", cell, ""] for name, cell in _baselines(entries, "gp")]


def above_optimum(entries: Entries, key: str) -> str:
    """Returns a distance from the optimum with its interval; empty if the key is not there."""
    if key not in entries:
        return ""
    score = entries[key]["scores"]["d_test_above_optimum"]
    return format_number(score["mean"], score["ci95"])


def _training(entries: Entries, key: str) -> str:
    """Returns steps and time, on the processor that the page names."""
    return training({key: {**entries[key], "processor": None}}, key) if key in entries else ""


def _first(entries: Entries, task: str) -> dict[str, Any]:
    """Returns the first entry of a task; optimum and baselines are the same in all of them."""
    return next(entries[f"{task}_{model}"] for model in MODELS if f"{task}_{model}" in entries)


def _optimum(entries: Entries, task: str) -> str:
    score = _first(entries, task)["scores"]["d_test_optimum"]
    return format_number(score["mean"], score["ci95"])


def _baselines(entries: Entries, task: str) -> list[tuple[str, str]]:
    """Returns the name of each baseline, and its distance from the optimum."""
    return [(name, format_number(s["mean"], s["ci95"])) for name, s in _first(entries, task)["baselines"].items()]
