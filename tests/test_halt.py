"""What ends a run before its last step: time, patience, a signal; and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import pytest
import torch

from metacli.checkpoints import checkpoint
from metacli.cli import main as command_line
from metacli.errors import UsageError
from metacli.runs.directory import RunDirectory
from metacli.tasks.metrics import Metric
from metacli.training import logbook
from metacli.training.loop import train
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from metacli.training.stopping import Deadline, Patience, parse_duration

CPU = torch.device("cpu")
BITS = Metric("bits", "", False, "bits")


def run(recipe, path, resume=False, deadline=None):
    folders = (None, path) if resume else (path, None)
    return train(recipe, RunPlan(*folders), CPU, Progress(quiet=True), 1, deadline=deadline)


class After:
    """A deadline that comes with a step."""

    limit = "2h"

    def __init__(self, steps):
        self.left = steps

    def has_passed(self):
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("45s", 45),
        ("1h30m", 5400),
        ("1h5s", 3605),
        ("90", 90),
        ("0.5", 0.5),
        (" 1H ", 3600),
    ],
)
def test_times(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "0", "0s", "0h0m", "-5", "5x", "30m1h", "1h30", "1 h 5 m", "nan", "inf", "1e3", "9" * 30, "٣s"]
)
def test_what_is_no_time(text):
    with pytest.raises(UsageError, match="--time-limit"):
        parse_duration(text)


def test_a_deadline_counts_from_its_making(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    deadline = Deadline("1m")
    now = 159.0
    assert not deadline.has_passed()
    now = 160.0
    assert deadline.has_passed()


def test_time_that_is_over_stops_and_saves_and_the_run_ends_the_same(tmp_path, tiny):
    run(tiny, tmp_path / "whole")
    outcome = run(tiny, tmp_path / "cut", deadline=After(4))
    assert (outcome.step, outcome.code, outcome.finished) == (4, 0, False)
    assert outcome.stopped == "the time limit of 2h"
    assert checkpoint.load(tmp_path / "cut" / "last.safetensors").step == 4
    outcome = run(tiny, tmp_path / "cut", resume=True, deadline=After(0))
    assert outcome.step == 5, "a step at least, so that repeated calls come to an end"
    outcome = run(tiny, tmp_path / "cut", resume=True, deadline=After(1))
    assert (outcome.step, outcome.finished, outcome.stopped) == (6, True, ""), "the last step is no early end"
    one, two = (checkpoint.load(tmp_path / name / "last.safetensors").model for name in ("whole", "cut"))
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_signal_while_the_run_validates_loses_no_step(tmp_path, tiny, monkeypatch):
    recipe = replace(tiny, train=tiny.train.model_copy(update={"checkpoint_every": 0}))
    original = logbook.evaluate

    def evaluate(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(logbook, "evaluate", evaluate)
    outcome = run(recipe, tmp_path / "r")
    assert (outcome.step, outcome.code, outcome.stopped) == (4, 130, "a signal")
    assert checkpoint.load(tmp_path / "r" / "last.safetensors").step == 4


def test_patience_counts_validations_without_a_new_best():
    patience = Patience(2, BITS, [])
    for score, over in ((3.0, False), (4.0, False), (2.0, False), (2.0, False), (2.5, True), (1.0, False)):
        patience.count(score)
        assert bool(patience.reason) is over
    never = Patience(0, BITS, [{"step": i, "val": {"bits": 1.0}} for i in range(99)])
    assert not never.reason


def scripted(monkeypatch, scores):
    """Validations that give these scores, one after the other."""
    left = iter(scores)

    class Scores:
        def means(self):
            return {"bits": next(left), "accuracy": 0.5, "loss": 1.0, "errors": 0.0}

    monkeypatch.setattr(logbook, "evaluate", lambda *_, **__: Scores())


@pytest.mark.parametrize("cut", [None, 2, 3])
def test_patience_ends_a_run_wherever_it_was_cut(tmp_path, tiny, monkeypatch, cut):
    keys = {"steps": 50, "patience": 2, "eval_every": 1, "checkpoint_every": 0}
    recipe = replace(tiny, train=tiny.train.model_copy(update=keys))
    scripted(monkeypatch, [3.0, 2.0, 2.5, 2.25, 1.0, 1.5, 1.5])
    if cut:
        assert run(recipe, tmp_path / "r", deadline=After(cut)).step == cut
    outcome = run(recipe, tmp_path / "r", resume=bool(cut))
    assert (outcome.step, outcome.code, outcome.finished, outcome.best) == (4, 0, True, 2.0)
    assert outcome.stopped == "2 validations without a better val bits than 2"
    assert checkpoint.load(tmp_path / "r" / "last.safetensors").step == 4
    assert checkpoint.load(tmp_path / "r" / "best.safetensors").step == 2
    again = run(recipe, tmp_path / "r", resume=True)
    assert (again.step, again.stopped) == (4, outcome.stopped), "it stays at its end"
    longer = replace(recipe, train=recipe.train.model_copy(update={"patience": 3}))
    assert run(longer, tmp_path / "r", resume=True, deadline=After(2)).best == 1.0
    assert [line["step"] for line in RunDirectory(tmp_path / "r").read_metrics()] == [1, 2, 3, 4, 5, 6]


def test_through_the_command_line(cli, tiny_file, tmp_path):
    limited = cli("train", tiny_file, "train.steps=1000000", "--run-dir", "r", "--time-limit", "2s", "--json")
    assert limited.returncode == 0, limited.stderr
    result = json.loads(limited.stdout)
    assert result["stopped"] == "the time limit of 2s"
    assert "resume with: metacli train --resume r" in limited.stderr
    done = result["step"]
    quiet = cli("train", "--resume", "r", f"train.steps={done + 2}", "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert f"step {done + 2}" in quiet.stdout


def test_an_error_is_told_however_quiet(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["metacli", "train", "smoke", "--time-limit", "soon", "--quiet"])
    with pytest.raises(SystemExit) as e:
        command_line.main()
    streams = capsys.readouterr()
    assert (e.value.code, streams.out) == (2, "")
    assert streams.err.startswith("error: --time-limit 'soon'")
