"""Unsure answers: marked by `metacli predict`, in Python and by the measuring command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_learner import TASK, pictures, saved

import metacli
from metacli.classifier.certainty import MIN_CERTAINTY, find_unsure, measure_resemblance
from tests.own import no_class
from tests.own.unsure import auroc, calibration_error

EXAMPLES = Path(__file__).parent.parent / "examples" / "characters"


@pytest.fixture(scope="module")
def strangers() -> dict[str, Image.Image]:
    """Pictures of no character."""
    return {name: make(np.random.default_rng(0)) for name, make in no_class.KINDS.items() if name != "line"}


def test_queries_of_no_class_are_marked_and_a_blank_page_is_an_error(cli, tmp_path, strangers):
    for name, picture in strangers.items():
        picture.save(tmp_path / f"{name}.png")
    Image.new("L", (64, 64), 255).save(tmp_path / "blank.png")
    asked = [EXAMPLES / "query", *sorted(tmp_path.glob("*.png"))]
    done = cli("predict", "--support", EXAMPLES / "support", "--query", *asked, "--csv", "a.csv", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [Path(e["query"]).name for e in found["errors"]] == ["blank.png"]
    by_name = {Path(p["query"]).stem: p for p in found["predictions"]}
    assert all(by_name[name]["unsure"] for name in strangers)
    assert not any(by_name[name]["unsure"] for name in ("1-Oru", "2-Kesh", "3-Nim", "6-Nim", "7-Kesh", "8-Lumo"))
    for p in found["predictions"]:
        assert -1 <= p["resemblance"] <= 1
        assert p["unsure"] == (p["probability"] * p["resemblance"] < MIN_CERTAINTY)
    marked = sum(p["unsure"] for p in found["predictions"])
    assert f"unsure  {marked} of {len(found['predictions'])} answers" in done.stderr
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["unsure"] == "True" for row in rows] == [p["unsure"] for p in found["predictions"]]
    assert [float(row["resemblance"]) for row in rows] == [p["resemblance"] for p in found["predictions"]]


def test_answers_below_min_probability_are_marked_in_the_table(cli):
    def run(*args: str):
        return cli("predict", "--support", EXAMPLES / "support", "--query", EXAMPLES / "query/8-Lumo.png", *args)

    assert "unsure" not in run("--min-probability", "0.9").stdout
    done = run("--min-probability", "1")
    assert done.returncode == 0
    assert "Lumo (unsure)" in done.stdout
    for wrong in ("1.5", "-0.1", "nan", "high"):
        done = run("--min-probability", wrong)
        assert done.returncode == 2
        assert "--min-probability" in done.stderr


def test_python_marks_alike(strangers):
    support = sorted((EXAMPLES / "support").glob("*/*.png"))
    queries = [EXAMPLES / "query/7-Kesh.png", EXAMPLES / "query/3-Nim.png", strangers["spiral"]]
    learner = metacli.load("glyphs_transformer", orders=3).fit(support, [path.parent.name for path in support])
    assert learner.is_unsure(queries).tolist() == [False, False, True]
    answers = learner.answer(queries)
    np.testing.assert_array_equal(answers.probabilities, learner.predict_proba(queries))
    middle = float(np.sort(answers.probabilities.max(1)[:2]).mean())
    learner.set_params(min_probability=middle)
    assert learner.is_unsure(queries).tolist() == [p < middle for p in answers.probabilities.max(1)[:2]] + [True]
    for wrong in (1.5, -0.1, float("nan"), "high", None):
        with pytest.raises(ValueError, match=r"min_probability is .*, but it must be a number from 0 to 1"):
            metacli.load("glyphs_transformer", min_probability=wrong).fit(pictures(2), "ab")
        with pytest.raises(ValueError, match="number from 0 to 1"):
            learner.set_params(min_probability=wrong).predict(queries)


@pytest.mark.filterwarnings("ignore:.*accuracy may be lower:UserWarning")
def test_features_that_are_not_centred_give_no_resemblance(tmp_path):
    path = saved(tmp_path / "m.safetensors", "transformer", TASK, width=64, init="content")
    answers = metacli.load(path).fit(pictures(4), "abcd").answer(pictures(6))
    assert answers.resemblance is None
    np.testing.assert_array_equal(answers.unsure, answers.probabilities.max(1) < MIN_CERTAINTY)


def test_resemblance_is_the_mean_cosine_to_the_class_of_the_answer():
    random = np.random.default_rng(0)
    queries, support, y = random.normal(size=(4, 6)), random.normal(size=(5, 6)), np.array([0, 2, 0, 1, 2])
    answers = np.array([0, 1, 2, 0])
    found = measure_resemblance(torch.tensor(queries), torch.tensor(support), y, answers)
    for q, c, value in zip(queries, answers, found, strict=True):
        cosines = [q @ s / np.linalg.norm(q) / np.linalg.norm(s) for s, k in zip(support, y, strict=True) if k == c]
        assert value == pytest.approx(np.mean(cosines))
    p = np.array([0.9, 0.9, 0.9, 0.3])
    assert find_unsure(p, np.array([0.9, 0.1, -0.9, 1.0]), 0).tolist() == [False, True, True, True]
    assert find_unsure(p, None, 0.95).tolist() == [True] * 4


def test_measures_agree_with_their_definitions():
    random = np.random.default_rng(1)
    high, low = random.integers(0, 5, 20) + 0.5 * random.integers(0, 2, 20), random.integers(0, 4, 30).astype(float)
    pairs = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
    assert auroc(high, low) == pytest.approx(pairs)
    assert calibration_error(np.array([0.95, 0.95, 0.5]), np.array([True, False, True])) == pytest.approx(
        (2 * abs(0.5 - 0.95) + 0.5) / 3
    )
