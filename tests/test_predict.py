"""`metacli predict`: new classes from a folder, through the real command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_learner import EMBEDDED, TASK, pictures, saved

from metacli.classifier.contact_sheet import save_sheet


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that tells new classes apart without any training."""
    return saved(tmp_path_factory.mktemp("w") / "matching.safetensors", "transformer", TASK, width=64, init="content")


@pytest.fixture
def shown(tmp_path) -> list[np.ndarray]:
    """Three classes with one, two and three pictures in `support`, the first of each once more in `query`."""
    images = pictures(6, seed=7)
    (tmp_path / "query").mkdir()
    for i, (name, some) in enumerate([("かな", images[:1]), ("[red]b", images[1:3]), ("z z", images[3:])]):
        (tmp_path / "support" / name).mkdir(parents=True)
        for k, image in enumerate(some):
            Image.fromarray(image).save(tmp_path / "support" / name / f"{k}.png")
        Image.fromarray(some[0]).save(tmp_path / "query" / f"q{i}.png")
    return images


NAMES = ["[red]b", "z z", "かな"]  # as sorted


@pytest.mark.usefixtures("shown")
def test_json_table_and_sheet(cli, model, tmp_path):
    files = ("--png", "sheet.png", "--csv", "answers.csv")
    plain = cli("predict", "-c", model, "--support", "support", "--query", "query", "--json", *files)
    assert plain.returncode == 0, plain.stderr
    found = json.loads(plain.stdout)
    assert {"checkpoint", "classes", "predictions", "errors"} <= found.keys()
    assert found["checkpoint"] == str(model)
    assert found["classes"] == NAMES
    assert found["errors"] == []
    assert [Path(p["query"]).name for p in found["predictions"]] == ["q0.png", "q1.png", "q2.png"]
    for prediction, name in zip(found["predictions"], ["かな", "[red]b", "z z"], strict=True):
        assert prediction["label"] == name
        assert prediction["most_attended"] == str(Path("support") / name / "0.png")
        assert list(prediction["probabilities"]) == NAMES
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert prediction["probability"] == max(prediction["probabilities"].values())
    assert "matching" in plain.stderr
    assert "averaged" in plain.stderr
    assert "may be lower" in plain.stderr  # trained on 4 ways with 1 shot
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, prediction in zip(rows, found["predictions"], strict=True):
        assert [row[key] for key in ("query", "label", "most_attended")] == [
            prediction[key] for key in ("query", "label", "most_attended")
        ]
        assert {name: float(row[f"p:{name}"]) for name in NAMES} == prediction["probabilities"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 960
        assert len(sheet.getcolors(100_000) or []) > 20

    table = cli("predict", "-c", model, "--support", "support", "--query", *sorted((tmp_path / "query").iterdir()))
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert len(lines) == 4
    assert all(word in lines[0] for word in ("query", "answer", "probability", "most attended"))
    assert "q1.png" in lines[2]
    assert "[red]b" in lines[2]


@pytest.mark.usefixtures("shown")
def test_questions_that_are_none_are_reported_and_the_others_answered(cli, model, tmp_path):
    (tmp_path / "query" / "broken.png").write_bytes(b"no picture at all")
    Image.new("L", (30, 30), 255).save(tmp_path / "blank.png")
    asked = ["query", "gone.png", "blank.png"]
    done = cli("predict", "-c", model, "--support", "support", "--query", *asked, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["predictions"]) == 4  # a model that was not trained on prepared pictures answers a blank one
    assert {Path(e["query"]).name for e in found["errors"]} == {"broken.png", "gone.png"}
    assert all(Path(e["query"]).name in e["message"] for e in found["errors"])
    assert done.stderr.count("error:") == 2
    assert "Traceback" not in done.stderr
    nothing = cli("predict", "-c", model, "--support", "support", "--query", "gone.png", "--json")
    assert nothing.returncode == 1
    assert json.loads(nothing.stdout)["predictions"] == []


def test_prepared_models_refuse_a_blank_question_alone(cli, tmp_path, shown):
    path = saved(tmp_path / "p.safetensors", "transformer", {**TASK, "prepare": True}, width=64, init="content")
    Image.new("L", (30, 30), 255).save(tmp_path / "query" / "blank.png")
    done = cli("predict", "-c", path, "--support", "support", "--query", "query", "--json")
    found = json.loads(done.stdout)
    assert [len(found["predictions"]), len(found["errors"])] == [3, 1]
    assert "no ink" in found["errors"][0]["message"]
    Image.new("L", (30, 30), 255).save(tmp_path / "support" / "z z" / "0.png")
    again = cli("predict", "-c", path, "--support", "support", "--query", "query", "--json")
    assert again.returncode == 0, again.stderr
    assert "skipped" in again.stderr
    assert "no ink" in again.stderr


@pytest.mark.usefixtures("shown")
def test_wrong_support(cli, model, tmp_path):
    def failed(*args: object) -> str:
        done = cli("predict", "-c", model, "--query", "query", *args)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert "error:" in done.stderr
        return done.stderr

    assert "nowhere is not a folder" in failed("--support", "nowhere")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    nothing = cli("predict", "-c", model, "--support", "support", "--query", "empty")
    assert nothing.returncode == 2
    assert "contain no images" in nothing.stderr
    assert "contains no directory with pictures" in failed("--support", "empty")
    Image.fromarray(pictures(1)[0]).save(tmp_path / "empty" / "a" / "1.png")
    assert "contains 1 class, a" in failed("--support", "empty")
    (tmp_path / "empty" / "b").mkdir()
    (tmp_path / "empty" / "b" / "1.png").write_bytes(b"x")
    said = failed("--support", "empty")
    assert "no readable image in b" in said
    for i in range(5):
        (tmp_path / "many" / f"c{i}").mkdir(parents=True)
        Image.fromarray(pictures(5)[i]).save(tmp_path / "many" / f"c{i}" / "1.png")
    assert "matching.safetensors supports at most 4 classes" in failed("--support", "many")
    assert "no checkpoint 'nonesuch'" in cli("predict", "-c", "nonesuch", "--support", "many", "--query", "q").stderr


def test_the_sheet_holds_any_number_of_pictures(model, tmp_path):
    from metacli.classifier.learner import Learner
    from metacli.classifier.prediction import predict

    for c in range(4):
        (tmp_path / f"s/{'a very long class name ' * 6}{c}").mkdir(parents=True)
        for k in range(5):
            Image.fromarray(pictures(20, c)[k]).save(tmp_path / f"s/{'a very long class name ' * 6}{c}/{k}.png")
    found = predict(Learner(model, orders=2), tmp_path / "s", [tmp_path / "gone.png"])
    save_sheet(tmp_path / "none.png", found)
    found = predict(Learner(model, orders=2), tmp_path / "s", sorted((tmp_path / "s").glob("*/*.png")))
    save_sheet(tmp_path / "all.png", found)
    with Image.open(tmp_path / "none.png") as few, Image.open(tmp_path / "all.png") as all_:
        assert few.height < all_.height


def test_a_model_with_embedded_labels_answers_any_number_of_classes(cli, tmp_path):
    task = {**TASK, "labels": "embedded"}
    model = saved(tmp_path / "any.safetensors", "transformer", task, **EMBEDDED)
    for c, image in enumerate(pictures(30)):
        (tmp_path / "support" / f"c{c}").mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "support" / f"c{c}" / "1.png")
    done = cli("predict", "-c", model, "--support", "support", "--query", "support/c7/1.png", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["classes"]) == 30
    assert "30 classes" in done.stderr
    assert "trained on 4 classes" in done.stderr
