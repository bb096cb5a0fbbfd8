"""The tables of the pages are those of docs/results/, whose digests are those of the bundled models."""

from __future__ import annotations

import json
import re

import pytest
from test_cli import inside

import metacli
from metacli.checkpoints import bundled, file_format
from metacli.config.recipe import load_recipe
from metacli.runs import metrics_log
from tests.own import results

ENTRIES = results.load()
CHANGES = "task.classes=24 task.test_classes=20 task.val_classes=20 train.batch=2 train.eval_tasks=2 train.steps=2"


def test_the_pages_hold_the_tables_of_the_entries():
    pages, tables = [page.read_text(encoding="utf-8") for page in results.PAGES], results.build_tables()
    assert sorted(re.findall(r"<!-- table: ([\w-]+) -->", "".join(pages))) == sorted(tables)
    assert [results.fill_page(page, tables) for page in pages] == pages, "run: python -m tests.own results --write"


def test_the_command_prints_every_table(capsys):
    results.main([])
    out = capsys.readouterr().out
    for name, table in results.build_tables().items():
        assert f"{name}\n\n{table}" in out


def test_every_entry_names_a_recipe_and_is_small():
    for path in results.FOLDER.glob("*.json"):
        assert path.stat().st_size < 32_000
        if path.name != results.PUBLISHED:
            assert load_recipe(path.stem).name == path.stem
            assert all(key.split()[0] == path.stem for key in json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", bundled.bundled_names())
def test_entries_of_bundled_models_have_the_digest_of_the_file(name):
    digest = file_format.read_file(bundled.bundled_file(name))[0][file_format.DIGEST_KEY]
    keys = [k for k, e in ENTRIES.items() if re.match(rf"{name}( task\.\S+)*( --\S+( \d+)?)*$", k) and e["digest"]]
    assert all(ENTRIES[key]["digest"] == digest for key in keys)
    figure = json.loads((bundled.FOLDER / bundled.FIGURES_NAME).read_text(encoding="utf-8"))[name]
    entry = ENTRIES.get(" ".join([name, *sorted(figure["overrides"])]))
    if entry and entry["digest"]:
        assert entry["scores"][f"d_test_{figure['metric']}"]["mean"] == pytest.approx(figure["mean"], abs=1e-4)


def test_the_sessions_of_a_resumed_training_add_up():
    records = [{"seconds": 5}, {"seconds": 9.5}, {"event": "resumed"}, {"seconds": 2}, {"seconds": 4}, {"seconds": 1}]
    assert results.sum_seconds(records) == 14.5
    assert results.sum_seconds([]) == 0


def test_an_evaluation_is_added_under_the_command_that_gives_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    results.FOLDER.mkdir()
    run = tmp_path / "run"
    metacli.train("strokes_lstm", *CHANGES.split(), run_dir=run, quiet=True)
    outputs = {
        "one": ("--split", "val", "--orders", "2"),
        "several": ("--baseline",),
    }
    keys = []
    for name, options in outputs.items():
        code, out, err = inside(monkeypatch, capsys, "eval", run, "--tasks", "4", "--json", *options)
        assert code == 0, err
        (tmp_path / f"{name}.json").write_text(out)
        keys.append(results.add(tmp_path / f"{name}.json"))

    assert keys == [
        f"strokes_lstm {CHANGES} --split val --orders 2",
        f"strokes_lstm {CHANGES} --baseline",
    ]
    entries = results.load()
    assert list(entries) == sorted(keys)
    saved = json.loads((tmp_path / "one.json").read_text())
    one = entries[keys[0]]
    assert one["scores"]["d_test_accuracy"]["mean"] == saved["d_test_accuracy"]["mean"]
    assert (one["steps"], one["batch"], one["orders"], one["n_tasks"], one["split"]) == (2, 2, 2, 4, "val")
    assert re.fullmatch("[0-9a-f]{64}", one["digest"])
    assert one["minutes"] == round(max(line["seconds"] for line in metrics_log.read(run / "metrics.jsonl")) / 60, 1)
    models = entries[keys[1]]["models"]
    assert [model["model"] for model in models] == ["lstm", "class means"]
    assert set(models[1]) == {"checkpoint", "model", "mean", "ci95", "difference"}
    results.add(tmp_path / "one.json", minutes=3, processor="another")
    again = results.load()[keys[0]]
    assert (again["minutes"], again["processor"]) == (3, "another")
