"""`python -m tests.own`: the command that the documentation's figures come from."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from metacli.tasks.images.preprocess import prepare
from metacli.tasks.images.preprocess.ink import extract_ink
from tests.own import digits, official

ROOT = Path(__file__).parent.parent


def test_digits_are_told_apart_however_they_are_drawn():
    command = [sys.executable, "-m", "tests.own", "digits", "--runs", "2", "--orders", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = {
        way: re.findall(r"([\d.]+) ±", line) for way in digits.WAYS for line in done.stdout.splitlines() if way in line
    }
    assert rows.keys() == digits.WAYS.keys()
    assert all(float(prepared) <= 20 for prepared, _ in rows.values())
    assert float(rows["small"][1]) > 50, "without preparation small digits are lost"


def test_ways_of_drawing_differ_as_they_say():
    sizes = {way: np.mean([extent(q) for q in digits.runs(1, way)[0].queries]) for way in digits.WAYS}
    assert sizes["small"] < 0.5 * sizes["as the examples"] < 0.5 * sizes["large"]
    ink = {way: np.mean([255 - np.asarray(q, float) for q in digits.runs(1, way)[0].queries]) for way in digits.WAYS}
    assert ink["thin"] < 0.5 * ink["as the examples"] < 0.25 * ink["thick"]


def test_the_official_runs_pair_each_query_with_its_class(tmp_path):
    def picture(number):
        file = io.BytesIO()
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(file, "png")
        return file.getvalue()

    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for run in range(1, official.RUNS + 1):
            lines = [f"run{run:02}/test/{k}.png run{run:02}/training/{(k + 1) % 3}.png" for k in range(3)]
            archive.writestr(f"run{run:02}/class_labels.txt", "\n".join(lines) + "\n")
            for k in range(3):
                archive.writestr(f"run{run:02}/test/{k}.png", picture((k + 1) % 3))
                archive.writestr(f"run{run:02}/training/{k}.png", picture(k))
    runs = list(official.runs(tmp_path / "all_runs.zip"))
    assert len(runs) == 20
    for run in runs:
        of_class = {label: np.asarray(image)[0, 0] for label, image in zip(run.labels, run.support, strict=True)}
        assert [np.asarray(image)[0, 0] for image in run.queries] == [of_class[answer] for answer in run.answers]


def extent(picture) -> float:
    """The longer side of the ink, in pixels."""
    ink = extract_ink(prepare.to_brightness(picture)) > 0
    return float(max(np.ptp(np.flatnonzero(ink.any(axis))) for axis in (0, 1)))
