"""`python -m tests.own results`: the final evaluations under docs/results/, and the tables made from them.

A file of docs/results/ holds the evaluations of one recipe, each under its key: the name of the recipe and the recipe
keys that were changed, then the options of `eval`. An entry whose `digest` is null was copied from an earlier page and
has no checkpoint any more. published.json holds the figures of papers, with their sources.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from metacli.checkpoints import bundled, checkpoint, file_format
from metacli.config.recipe import load_recipe
from metacli.evaluation.confidence import mean_ci95
from metacli.runs import metrics_log
from metacli.system import files

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "results"
PAGES = tuple(ROOT / "docs" / name for name in ("results.md", "optimum.md", "predict.md"))
PUBLISHED = "published.json"
OF_OPTIMUM = ("loss", "above_optimum", "optimum", "above_optimum_by_examples_seen")  # scores kept of such tasks
_BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def main(words: list[str]) -> None:
    """Add evaluations, then print the tables or write them into the pages."""
    parser = argparse.ArgumentParser(prog="python -m tests.own results", description=__doc__)
    parser.add_argument("--add", nargs="+", type=Path, default=[], metavar="FILE", help="outputs of `eval --json`")
    parser.add_argument("--minutes", type=float, help="with --add: minutes of training; default: from the run's log")
    parser.add_argument("--processor", help="with --add: processor of the training; default: from the checkpoint")
    parser.add_argument("--write", action="store_true", help="write the tables into the pages")
    o = parser.parse_args(words)
    for path in o.add:
        print(f"{path}: {add(path, o.minutes, o.processor)}")
    tables = build_tables()
    if o.write:
        for page in PAGES:
            page.write_text(fill_page(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    elif not o.add:
        print("\n\n".join(f"{name}\n\n{table}" for name, table in tables.items()))


def build_tables() -> dict[str, str]:
    """Returns the tables of all pages as Markdown, by their names."""
    from tests.own import optimum_tables, result_tables

    entries = load()
    return result_tables.build_tables(entries, load_published()) | optimum_tables.build_tables(entries)


def load() -> dict[str, dict[str, Any]]:
    """Returns all entries by key."""
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(FOLDER.glob("*.json")):
        if path.name != PUBLISHED:
            entries |= json.loads(path.read_text(encoding="utf-8"))
    return entries


def load_published() -> dict[str, list[dict[str, Any]]]:
    """Returns the published rows of each table."""
    rows: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / PUBLISHED).read_text(encoding="utf-8"))
    return rows


def fill_page(page: str, tables: dict[str, str]) -> str:
    """Returns the page with every table between its markers."""
    return _BLOCK.sub(lambda m: f"{m[1]}{tables[m[2]]}\n{m[3]}", page)


def add(path: Path, minutes: float | None = None, processor: str | None = None) -> str:
    """Adds an output of `eval --json`, or of `eval --baseline --json`; returns its key."""
    result = json.loads(path.read_text(encoding="utf-8"))
    key = key_of(result)
    file = FOLDER / f"{result['recipe']['name']}.json"
    entries = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    entries[key] = {**training_of(result, entries.get(key, {}), minutes, processor), **scores_of(result)}
    files.write(file, json.dumps(dict(sorted(entries.items())), indent=1, ensure_ascii=False) + "\n")
    return key


def key_of(result: dict[str, Any]) -> str:
    """Returns the key of a result: the command that gives it."""
    recipe, default = result["recipe"], load_recipe(result["recipe"]["name"]).as_dict()
    actual, expected = flatten(recipe), flatten(default)
    changes = [f"{k}={v}" for k, v in sorted(actual.items()) if k in expected and v != expected[k]]
    options = [f"--split {result['split']}"] if result["split"] != "test" else []
    options += [f"--orders {result['orders']}"] if result.get("orders", 1) > 1 else []
    options += ["--baseline"] if "models" in result else []
    return " ".join([recipe["name"], *changes, *options])


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def training_of(
    result: dict[str, Any], previous: dict[str, Any], minutes: float | None, processor: str | None
) -> dict[str, Any]:
    """Returns what is known of the training. What the run does not tell stays as it was."""
    name = result["models"][0]["checkpoint"] if "models" in result else result["checkpoint"]
    saved = checkpoint.load(bundled.find_checkpoint(name))
    log, environment = saved.path.parent / "metrics.jsonl", saved.environment
    if minutes is None and log.exists():
        minutes = sum_seconds(metrics_log.read(log)) / 60
        processor = processor or (environment and f"{environment['processor']}, {environment['instructions']}")
    train = saved.recipe.train
    return {
        "digest": file_format.read_file(saved.path)[0][file_format.DIGEST_KEY],
        "step": saved.step,
        "steps": train.steps,
        "batch": train.batch,
        "minutes": previous.get("minutes") if minutes is None else round(minutes, 1),
        "processor": processor or previous.get("processor"),
    }


def sum_seconds(records: list[dict[str, Any]]) -> float:
    """Returns the duration of a training from its log. The clock of the log starts at 0 whenever a run is resumed."""
    seconds = [record["seconds"] for record in records if "seconds" in record]
    return sum(now for now, after in zip(seconds, [*seconds[1:], 0], strict=False) if after < now)


def scores_of(result: dict[str, Any]) -> dict[str, Any]:
    """Returns what was evaluated, and the means with their intervals."""
    about = {key: result.get(key, 1 if key == "orders" else 0) for key in ("split", "task_seed", "n_tasks", "orders")}
    if "models" in result:
        metric = next(iter(result["metrics"].values()))["key"]
        rows = [
            {"checkpoint": Path(row["checkpoint"]).name, "model": row["model"], **plain(row[metric])}
            | ({"difference": plain(row["difference"])} if row["difference"] else {})
            for row in result["models"]
        ]
        return {**about, "models": rows}
    has_optimum = "d_test_optimum" in result
    names = OF_OPTIMUM if has_optimum else [name for name in result["metrics"] if name != "loss"]
    keys = [result["metrics"][name]["key"] for name in names]
    scores = {**about, "scores": {key: plain(result[key]) for key in keys}}
    return {**scores, "baselines": baselines_of(result)} if has_optimum else scores


def baselines_of(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns how far each baseline is above the optimum, paired by task."""
    names = [n for n in result["metrics"] if n not in OF_OPTIMUM and not n.endswith("_by_examples_seen")]
    differences = {n: np.array([task[n] - task["optimum"] for task in result["tasks"]]) for n in names}
    pairs = {n: mean_ci95(values) for n, values in differences.items()}
    return {n: {"mean": float(f"{mean:.6g}"), "ci95": float(f"{half:.6g}")} for n, (mean, half) in pairs.items()}


def plain(score: Any) -> Any:
    """Returns the means and half widths of a score, or of each score of a curve."""
    if isinstance(score, list):
        return [plain(one) for one in score]
    return {key: score[key] for key in ("mean", "ci95", "ci95_classes") if key in score}
