"""A checkpoint of each model, written when its format was new, is read and scores what it scored then."""

from __future__ import annotations

import json

import pytest

from metacli.checkpoints import checkpoint
from metacli.registry import MODELS
from tests.golden import HERE, evaluated

EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_golden_checkpoint_scores_what_it_did(name: str) -> None:
    found, wanted = evaluated(HERE / name), EXPECTED[name]
    assert found["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
    assert found["accuracy"] == pytest.approx(wanted["accuracy"], abs=0.011)  # one answer may tip by rounding


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_one_of_today(name: str) -> None:
    assert (HERE / f"format{checkpoint.FORMAT}_{name}.safetensors").is_file(), "make it: python -m tests.golden"


def test_every_golden_file_is_expected_and_small() -> None:
    files = sorted(HERE.glob("*.safetensors"))
    assert [f.name for f in files] == sorted(EXPECTED)
    assert max(f.stat().st_size for f in files) < 32_000
