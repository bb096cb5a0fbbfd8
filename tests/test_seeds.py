"""One recipe with several seeds in one command: each a run as by itself, and what is said of all."""

from __future__ import annotations

import json
import signal
import sys
import time

import pytest
import torch
from test_cli import inside

from metacli.checkpoints import checkpoint
from metacli.errors import UsageError
from metacli.runs.seeds import SeedRuns, parse_seeds


@pytest.mark.slow
def test_each_seed_is_the_run_that_it_is_by_itself(cli, tiny_file, tmp_path):
    done = cli("train", tiny_file, "train.steps=4", "--seeds", "5,6", "--jobs", "2", "--run-dir", "all", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["seed"] for row in found["seeds"]] == [5, 6]
    tested = [json.loads((tmp_path / "all" / f"seed{s}" / "eval.json").read_text()) for s in (5, 6)]
    means = [t["d_test_bits"]["mean"] for t in tested]
    assert [row["d_test_bits"]["mean"] for row in found["seeds"]] == means
    assert found["median"] == pytest.approx(sum(means) / 2, rel=1e-5)
    assert (found["lowest"], found["highest"]) == (min(means), max(means))
    alone = cli("train", tiny_file, "train.steps=4", "seed=6", "--run-dir", "alone")
    assert alone.returncode == 0, alone.stderr
    one, other = (checkpoint.load(tmp_path / place / "last.safetensors").model for place in ("all/seed6", "alone"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    again = cli("train", tiny_file, "train.steps=4", "--seeds", "5,6", "--run-dir", "all", "--json")
    assert json.loads(again.stdout)["seeds"] == found["seeds"]


def test_lists_of_seeds():
    assert parse_seeds("3,1,2") == [3, 1, 2]
    for wrong in ("", "a", "1,,2", "1,1"):
        with pytest.raises(UsageError):
            parse_seeds(wrong)


def test_wrong_usage(monkeypatch, capsys, tiny_file):
    for more in (["--resume", "x"], ["--dry-run"], ["train.stepz=3"]):
        code, _, err = inside(monkeypatch, capsys, "train", tiny_file, *more, "--seeds", "0,1")
        assert code == 2
        assert err.startswith("error:")
    assert inside(monkeypatch, capsys, "train", "--seeds", "0")[0] == 2


def test_one_that_fails_is_named_and_the_others_finish(tiny_file, tmp_path, capsys):
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "seed0").touch()  # no run directory can be made here
    runs = SeedRuns([str(tiny_file), "train.steps=2"], [0, 1], folder, ["--threads", "1"], jobs=2)
    assert runs.execute() == 2
    assert runs.results.keys() == {1}
    assert "seed 0: train failed with exit status 2" in capsys.readouterr().err
    assert "error: " in (folder / "seed0.log").read_text()
    assert (folder / "seed1" / "eval.json").is_file()


def test_a_signal_reaches_all(tiny_file, tmp_path):
    import os
    import subprocess

    command = [sys.executable, "-m", "metacli", "train", str(tiny_file), "train.steps=1000000", "--threads", "1"]
    command += ["--seeds", "0,1", "--jobs", "2", "--run-dir", "all"]
    run = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    logs = [tmp_path / "all" / f"seed{s}" / "metrics.jsonl" for s in (0, 1)]
    deadline = time.monotonic() + 60
    while not all(log.is_file() and log.read_text() for log in logs) and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 143, err
    assert b"resume with: metacli train" in err
    for s in (0, 1):
        assert checkpoint.load(tmp_path / "all" / f"seed{s}" / "last.safetensors").step > 0
