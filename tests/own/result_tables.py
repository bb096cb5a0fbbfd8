"""The tables of docs/results.md, from the entries of docs/results/."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from metacli.config.recipe import load_recipe
from metacli.tasks.metrics import format_number

Entries = dict[str, dict[str, Any]]
Published = dict[str, list[dict[str, Any]]]

NAMES = {
    "transformer": "Transformer",
    "snail": "SNAIL",
    "mann": "MANN",
    "ntm": "NTM",
    "dnc": "DNC",
    "deltanet": "DeltaNet",
    "lstm": "LSTM, no memory",
    "prototypical": "class means, the baseline",
}
COLUMNS = ["5-way 1-shot", "5-way 5-shot", "20-way 1-shot", "20-way 5-shot"]
SETTINGS = ["", "5w5s_", "20w1s_", "20w5s_"]  # of the recipes, by column
SIZES = [(5, 1), (5, 5), (20, 1), (20, 5)]  # ways and shots
INSTANCES = [1, 2, 3, 4, 5, 10]
BUNDLED = "omniglot_60w1s_transformer"
USUAL_PROCESSOR = "AMD EPYC, Zen 5"
NOT_TRAINED = "not trained yet"


def build_tables(entries: Entries, published: Published) -> dict[str, str]:
    """Returns every table as Markdown, by its name."""
    tables = {
        "origin": origin(entries),
        "k-shot": k_shot(entries),
        "baseline-differences": baseline_differences(entries),
        "orders": orders(entries),
        "k-shot-training": k_shot_training(entries),
        "seeds": seeds(entries),
        "tried": tried(entries),
        "scratch": scratch(entries),
        "any-number": any_number(entries),
        "quick-k-shot": quick(entries, "accuracy after 500 steps, %", lambda e: "scores" in e and not _is_stream(e)),
        "quick-streams": quick(entries, "2nd / 10th instance after 500 steps, %", _is_stream),
        "strokes": strokes(entries),
        "stream": stream(entries, "omniglot_stream_", ["omniglot_stream_mann_paper", "strokes_stream_mann"]),
        "stream15": stream(entries, "omniglot_stream15_"),
        "algorithmic": algorithmic(entries),
        "algorithmic-levels": [["task", "chance level, bits", "from the paper"]],
        "sinusoid": sinusoid(entries),
    }
    return {name: markdown([*rows, *published_rows(published, name)]) for name, rows in tables.items()}


def markdown(rows: list[list[str]]) -> str:
    """Returns rows as a table. The first row is the header."""
    lines = [f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |") for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def published_rows(published: Published, table: str) -> list[list[str]]:
    """Returns the published rows of a table."""
    return [[row["label"], *row["cells"]] for row in published.get(table, [])]


def origin(entries: Entries) -> list[list[str]]:
    """How many evaluations name the digest of their checkpoint."""
    backed = sum(entry["digest"] is not None for entry in entries.values())
    return [
        ["evaluations", "number"],
        ["with the digest of their checkpoint", f"{backed}"],
        ["copied from earlier versions of this page, whose checkpoints are gone", f"{len(entries) - backed}"],
    ]


def k_shot(entries: Entries) -> list[list[str]]:
    """Accuracy of each model at each size, and of the baseline."""
    rows = [["model", *COLUMNS]]
    rows += [
        [f"Transformer, `{name}` for all four", *(percent(entries, _resized(name, *size)) for size in SIZES)]
        for name in ("omniglot_20w1s_transformer", BUNDLED)
    ]
    rows.append(["Transformer, `omniglot_transformer`", percent(entries, "omniglot_transformer"), "", "", ""])
    rows += [
        [NAMES[model], *(percent(entries, f"omniglot_{setting}{model}") for setting in SETTINGS)]
        for model in ("snail", "mann", "ntm", "dnc", "lstm")
    ]
    means = [_find_model(entries, f"{_resized(BUNDLED, *size)} --baseline", "class means") for size in SIZES]
    label = "**baseline**: class means on the bundled encoder, no meta-learner"
    rows.append([label, *(format_percent(score) for score in means)])
    papers = [_resized(f"omniglot_{ways}way_snail_paper", ways, shots) for ways, shots in SIZES]
    label = "SNAIL as in its paper, `omniglot_5way_snail_paper` and `omniglot_20way_snail_paper`"
    return [*rows, [label, *(percent(entries, key) or NOT_TRAINED for key in papers)]]


def _resized(name: str, ways: int, shots: int) -> str:
    """Returns the key of a recipe at other ways and shots."""
    task: Any = load_recipe(name).task
    wanted = {"fewest_shots": 0, "fewest_ways": 0, "shots": shots, "ways": ways}
    return " ".join([name, *(f"task.{k}={v}" for k, v in wanted.items() if v != getattr(task, k))])


def _find_model(entries: Entries, key: str, kind: str) -> dict[str, Any] | None:
    """Returns the last model of a kind in a comparison: for class means, those on the bundled encoder."""
    models = [model for model in entries.get(key, {}).get("models", []) if model["model"] == kind]
    return models[-1] if models else None


def baseline_differences(entries: Entries) -> list[list[str]]:
    """The difference of each model from class means on the bundled encoder, paired by task."""
    rows = [["model minus baseline, points", *COLUMNS]]
    names = [BUNDLED, *(f"omniglot_{m}" for m in ("transformer", "snail", "mann", "ntm", "dnc", "lstm"))]
    for name in names:
        if name == BUNDLED:
            keys = [_resized(name, *size) for size in SIZES]
        else:
            keys = [f"omniglot_{setting}{name.removeprefix('omniglot_')}" for setting in SETTINGS]
        found = [_find_model(entries, f"{key} --baseline", "class means") for key in keys]
        cells = [format_difference(model["difference"]) if model else "" for model in found]
        rows += [[f"`{name}`", *cells]] if any(cells) else []
    return rows


def orders(entries: Entries) -> list[list[str]]:
    """The scores of averages over several orders beside those of one, and those of the baseline."""
    rows = [["evaluation", "one order", "averaged", "class means, averaged", "model minus class means", "orders"]]
    for key, entry in entries.items():
        base, found, number = key.partition(" --orders ")
        if found and "scores" in entry:
            means = _find_model(entries, f"{key} --baseline", "class means")
            cells = [format_percent(means), format_difference(means["difference"]) if means else ""]
            rows.append([f"`{base}`", percent(entries, base), percent(entries, key), *cells, number])
    return rows


def k_shot_training(entries: Entries) -> list[list[str]]:
    """Steps and minutes of each recipe after the encoder."""
    rows = [["model", *COLUMNS]]
    for model in ("transformer", "snail", "mann", "ntm", "dnc", "lstm"):
        cells = [training(entries, f"omniglot_{setting}{model}") for setting in SETTINGS]
        rows.append([NAMES[model], *cells])
    rows.append([f"`{BUNDLED}`", "", "", training(entries, _resized(BUNDLED, 20, 1)), ""])
    return rows


def training(entries: Entries, key: str) -> str:
    """Returns steps and time as in `3,000, 6 min`; empty if the key is not there."""
    entry = entries.get(key)
    return f"{entry['steps']:,}{_time(entry)}" if entry else ""


def episodes(entries: Entries, key: str) -> str:
    """Returns the number of training tasks and the time, as in `48,000, 6 min`."""
    entry = entries.get(key)
    return f"{entry['steps'] * entry['batch']:,}{_time(entry)}" if entry else ""


def _time(entry: dict[str, Any]) -> str:
    minutes, processor = entry["minutes"], entry["processor"]
    if minutes is None:
        return ""
    elsewhere = f" ({processor})" if processor and processor != USUAL_PROCESSOR else ""
    return f", {minutes * 60:.0f} s{elsewhere}" if minutes < 2 else f", {minutes:.0f} min{elsewhere}"


def seeds(entries: Entries) -> list[list[str]]:
    """Three seeds of a recipe: median and spread."""
    rows = [["recipe", "seeds 0, 1, 2", "median", "spread"]]
    for key in sorted(k.removesuffix(" seed=2") for k in entries if k.endswith(" seed=2") and k.count(" ") == 1):
        runs = [entries.get(f"{key}{suffix}") for suffix in ("", " seed=1", " seed=2")]
        if any(run is None or "text" in str(run) for run in runs):
            continue  # not all seeds, or bits, which have a table of their own
        for k in INSTANCES if _is_stream(runs[2]) else [None]:
            values = [_mean(run["scores"], k) for run in runs if run]
            if None in values:
                continue
            digits = 2 if k is None else 1
            shown = [round(100 * v, digits) for v in values if v is not None]
            label = f"`{key}`" + (f", {ordinal(k)} instance" if k else "")
            cells = [", ".join(f"{v:.{digits}f}" for v in shown), statistics.median(shown), max(shown) - min(shown)]
            rows.append([label, str(cells[0]), *(f"{v:.{digits}f}" for v in cells[1:])])
    return rows


def _mean(scores: dict[str, Any], instance: int | None) -> float | None:
    score = scores["d_test_accuracy"] if instance is None else scores["by_appearance"][instance - 1]
    return None if score is None else score["mean"]


def ordinal(number: int) -> str:
    """Returns 1st, 2nd, 3rd, 4th, ..."""
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def tried(entries: Entries) -> list[list[str]]:
    """SNAIL with one change each."""
    rows = [["change", "accuracy, %", "the recipe, %", "time"]]
    for key in ("omniglot_20w1s_snail train.steps=12000", "omniglot_20w5s_snail train.encoder_rate=0.1"):
        minutes = _time(entries[key]).removeprefix(", ")
        rows.append([f"`{key}`", percent(entries, key), percent(entries, key.split()[0]), minutes])
    return rows


def scratch(entries: Entries) -> list[list[str]]:
    """Every model from random weights, with one encoder and one budget."""
    rows = [["model", "5-way 1-shot", "20-way 1-shot", "stream, 2nd instance", "stream, 10th instance", "steps"]]
    for model in ("prototypical", "snail", "transformer", "mann", "ntm", "dnc", "deltanet", "lstm"):
        keys = [f"scratch_{model}", f"scratch_20w1s_{model}", f"scratch_stream_{model}"]
        cells = [percent(entries, key) or NOT_TRAINED for key in keys[:2]]
        cells += [instance(entries, keys[2], k) or NOT_TRAINED for k in (2, 10)]
        steps = [f"{entries[key]['steps']:,}" if key in entries else "" for key in keys]
        rows.append([NAMES[model], *cells, ", ".join(filter(None, steps))])
    return rows


def any_number(entries: Entries) -> list[list[str]]:
    """A model with embedded labels at several ways, beside one-hot labels and class means on its encoder."""
    rows = [
        ["classes", "embedded labels", "class means on its encoder", "embedded minus class means", "one-hot labels"]
    ]
    name, one_hot = "glyphs_any_transformer", "glyphs_transformer"
    for ways in (5, 20, 50, 100, 200):
        key = f"{name} task.fewest_ways=0 task.ways={ways} task.within=0.0 --baseline"
        models = entries[key]["models"] if key in entries else []
        means = [m for m in models if m["model"] == "class means" and m["checkpoint"] == name]
        others = [m for m in models if m["model"] != "class means" and m["checkpoint"] == one_hot]
        if models:
            cells = [format_percent(models[0]), format_percent(means[0]), format_difference(means[0]["difference"])]
            rows.append([f"{ways}", *cells, format_percent(others[0] if others else None)])
    return rows


def quick(entries: Entries, title: str, matches: Callable[[dict[str, Any]], bool]) -> list[list[str]]:
    """Recipes after 500 steps, beside the whole recipe."""
    rows = [["recipe", title, "after all steps"]]
    for key, entry in sorted(entries.items()):
        name, _, changes = key.partition(" ")
        if changes == "train.steps=500" and matches(entry):
            show = both_instances if _is_stream(entry) else percent
            rows.append([f"`{name}`", show(entries, key), show(entries, name)])
    return rows


def both_instances(entries: Entries, key: str) -> str:
    """Returns the accuracy at the 2nd and 10th instance."""
    return f"{instance(entries, key, 2)} / {instance(entries, key, 10)}" if key in entries else ""


def strokes(entries: Entries) -> list[list[str]]:
    """The recipes of `strokes`, 5-way 1-shot."""
    rows = [["recipe", "accuracy, %", "test tasks", "steps, time"]]
    for model in ("deltanet", "snail", "transformer", "mann", "dnc", "ntm", "lstm"):
        key = f"strokes_{model}"
        rows.append([f"`{key}`", percent(entries, key), f"{entries[key]['n_tasks']:,}", training(entries, key)])
    return rows


def stream(entries: Entries, prefix: str, last: Iterable[str] = ()) -> list[list[str]]:
    """Accuracy at the k-th instance of a class."""
    rows = [["", *(ordinal(k) for k in INSTANCES), "episodes, time"]]
    models = ("prototypical", "mann", "ntm", "transformer", "snail", "dnc", "lstm")
    keys = [key for key in (*(f"{prefix}{model}" for model in models), *last) if key in entries]
    return [*rows, *([f"`{k}`", *(instance(entries, k, i) for i in INSTANCES), episodes(entries, k)] for k in keys)]


def algorithmic(entries: Entries) -> list[list[str]]:
    """Bits per sequence, at the trained lengths and beyond them."""
    rows = [["recipe", "trained lengths", "beyond them", "test sequences", "steps, time"]]
    beyond = ("task.length=", "task.items=", "task.repeats=")
    prefixes = ("copy_", "repeat_copy_", "priority_sort_", "dynamic_ngrams_", "associative_recall_")
    for prefix in prefixes:
        for key, entry in entries.items():
            words = key.split()
            if not key.startswith(prefix) or any(word.startswith(beyond) for word in words):
                continue
            further = [
                (other, next(w for w in other.split() if w.startswith(beyond)))
                for other in entries
                if [w for w in other.split() if not w.startswith(beyond)] == words and other != key
            ]
            further.sort(key=lambda pair: (pair[1].partition("=")[0], int(pair[1].partition("=")[2])))
            cells = [f"{word.removeprefix('task.').replace('=', ' ')}: {bits(entries[o])}" for o, word in further]
            if optimum := entry["scores"].get("d_test_optimal_bits"):
                cells.append(f"the optimal estimator: {format_number(optimum['mean'])}")
            numbers = dict.fromkeys([entry["n_tasks"], *(entries[other]["n_tasks"] for other, _ in further)])
            counts = ", ".join(f"{n:,}" for n in numbers)
            rows.append([f"`{key}`", bits(entry), "; ".join(cells), counts, training(entries, key)])
    return rows


def bits(entry: dict[str, Any]) -> str:
    """Returns bits with their interval and the number of errors, as in `0.050 ± 0.002 (no error)`."""
    score = entry["scores"]["d_test_bits"]
    if "text" in score:
        return str(score["text"])
    errors = entry["scores"]["d_test_errors"]["mean"]
    count = f"{errors:.2g} errors" if errors else "no error"
    return f"{format_number(score['mean'], score['ci95'])} ({count})"


def sinusoid(entries: Entries) -> list[list[str]]:
    """Squared error of the regression."""
    rows = [["recipe", "10 points", "5 points", "steps, time"]]
    for model in ("deltanet", "transformer", "mann", "snail", "lstm", "ntm", "dnc"):
        key = f"sinusoid_{model}"
        rows.append([f"`{key}`", *(error(entries, k) for k in (key, f"{key} task.shots=5")), training(entries, key)])
    return rows


def error(entries: Entries, key: str) -> str:
    """Returns a squared error with its interval; empty if the key is not there."""
    if key not in entries:
        return ""
    score = entries[key]["scores"]["d_test_squared_error"]
    return score.get("text") or format_number(score["mean"], score["ci95"])


def percent(entries: Entries, key: str) -> str:
    """Returns an accuracy as in `99.10 ± 0.22`; empty if the key is not there."""
    return format_percent(entries[key]["scores"]["d_test_accuracy"]) if key in entries else ""


def format_percent(score: dict[str, Any] | None, digits: int = 2) -> str:
    """Returns a share with its interval in percent; empty for None."""
    if score is None:
        return ""
    half = "" if score["ci95"] is None else f" ± {100 * score['ci95']:.{digits}f}"
    return f"{100 * score['mean']:.{digits}f}{half}"


def format_difference(difference: dict[str, Any]) -> str:
    """Returns the difference of the model from the baseline, in points."""
    mean = -100 * difference["mean"]
    half = "" if difference["ci95"] is None else f" ± {100 * difference['ci95']:.2f}"
    return f"{mean:+.2f}{half}" if round(mean, 2) else f"0.00{half}"


def instance(entries: Entries, key: str, number: int) -> str:
    """Returns the accuracy at an instance of a class; empty if the key is not there."""
    return format_percent(entries[key]["scores"]["by_appearance"][number - 1], 1) if key in entries else ""


def _is_stream(entry: dict[str, Any]) -> bool:
    return "by_appearance" in entry.get("scores", {})
