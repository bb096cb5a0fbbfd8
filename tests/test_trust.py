"""A short form of `make trust`: a few hostile inputs of every kind, and that the harness notices what it should."""

from __future__ import annotations

import os
import socket

import pytest

from tests.trust import __main__ as trust
from tests.trust import fuzz
from tests.trust.confined import Case, Outcome, Watch, judge, run

INPUTS = 200


@pytest.mark.slow
def test_hostile_inputs_are_refused_in_a_line_or_do_no_harm():
    kinds = {kind: max(3, round(INPUTS * share)) for kind, share in trust.SHARES.items()}
    line = fuzz.fuzz(kinds, seed=0, coverage=False)
    assert f"{sum(kinds.values()):,} inputs (hypothesis)" in line


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Outcome(), "done"),
        (Outcome(code=2, err="error: no recipe 'x'\n"), "refused"),
        (Outcome(code=2, err="no recipe 'x'\n"), "no message"),
        (Outcome(code=1, err="Traceback (most recent call last)\nerror: x\n"), "1"),
        (Outcome(code=139, err="error: x\n"), "exit 139"),
        (Outcome(out="\x1b[2J"), "raw control character"),
        (Outcome(outside=["open '/etc/passwd'"]), "outside"),
    ],
)
def test_outcomes_are_told_apart(outcome, word):
    assert judge(Case(["eval"]), outcome)[0] == word


def test_a_wrong_number_is_noticed():
    def right(outcome: Outcome) -> None:
        assert outcome.json() == {"mean": 1}

    assert judge(Case(["eval"], right), Outcome(out='{"mean": 1}'))[0] == "done"
    assert judge(Case(["eval"], right), Outcome(out='{"mean": 2}'))[0] == "wrong"


def test_a_command_that_does_not_end_is_ended(monkeypatch):
    monkeypatch.setattr("metacli.cli.main.main", lambda: [None for _ in iter(int, 1)])
    outcome = run(Case([]), seconds=1)
    assert judge(Case(["eval"]), outcome)[0] == "too long"


def test_what_is_touched_outside_is_heard(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    watch = Watch(place)
    watch.outcome = outcome = Outcome()
    (place / "in").write_text("x")
    (tmp_path / "out").write_text("x")
    (tmp_path / "read").exists()
    os.rename(tmp_path / "out", place / "moved")
    with socket.socket() as s:
        s.settimeout(0.1)
        s.connect_ex(("127.0.0.1", 9))
    watch.outcome = None
    (tmp_path / "later").write_text("x")
    assert [line.split(" ")[0].partition("(")[0] for line in outcome.outside] == ["open", "os.rename", "socket.connect"]
