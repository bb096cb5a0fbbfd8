"""Streams that are closed, full or left by their reader: a lost result is an error, lost messages are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

import metacli

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no file here is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [["--version"], ["train", "--help"], ["recipes", "--json"]])
def test_a_full_stdout(tmp_path, args, unbuffered):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "metacli", *args]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == (
        "error: cannot write the result to stdout: No space left on device\n"
        "hint: redirect it to a disk with free space\n"
    )


def test_a_reader_that_is_gone_is_no_news(tmp_path):
    script = '"$0" -m metacli recipes | true; exit ${PIPESTATUS[0]}'
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1)  # 0: it was quicker
    assert done.stderr == ""


def shell(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """`metacli` as `$M` in a script of bash, the only place where streams are closed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "M": f"{sys.executable} -m metacli"}
    return subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)


LIGHT = ["--version", "recipes --json"]
VERBS = [
    "models", "runs .", "curves run", "recipes smoke", "sample-tasks smoke -n 1 --json", "eval run --tasks 2",
    "inspect-memory copy_ntm", "train smoke --dry-run", "train tiny.yaml --run-dir new --quiet", "train --help",
    "predict --support examples/characters/support --query examples/characters/query",
]  # fmt: skip


@pytest.fixture
def run_of_tiny(tmp_path, tiny_file):
    done = shell(tmp_path, "$M train tiny.yaml --run-dir run --quiet --threads 1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("args", LIGHT)
def test_no_stdout_at_all(tmp_path, args):
    done = shell(tmp_path, f"$M {args} >&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot write the result to stdout: it is closed\nhint: ")


@pytest.mark.slow
@pytest.mark.usefixtures("run_of_tiny")
@pytest.mark.parametrize("args", VERBS)
def test_a_result_of_any_verb_that_is_lost_is_a_failure_and_lost_messages_are_none(tmp_path, args):
    whole = shell(tmp_path, f"$M {args} --threads 1" if "eval" in args else f"$M {args}")
    assert whole.returncode == 0, whole.stderr
    for redirection in (">/dev/full", "<&- >&- 2>&-"):
        lost = shell(tmp_path, f"rm -rf new; $M {args} {redirection}")
        assert lost.returncode == 1, redirection
        assert lost.stdout == ""
        assert lost.stderr.count("error: cannot write the result to stdout") == ("2>" not in redirection)
        assert "Traceback" not in lost.stderr
    for redirection in ("2>/dev/full", "<&- 2>&-"):
        done = shell(tmp_path, f"rm -rf new; $M {args} {redirection}")
        assert done.returncode == 0, (redirection, done.stderr)
        assert len(done.stdout.splitlines()) == len(whole.stdout.splitlines())
    gone = shell(tmp_path, f"rm -rf new; ($M {args}; echo $? >status) | true")
    assert (tmp_path / "status").read_text().strip() in ("0", "1")
    assert "Traceback" not in gone.stderr


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "redirection", ["<&- 2>&-", pytest.param("2>/dev/full", marks=SLOW), pytest.param("2> >(true)", marks=SLOW)]
)
def test_messages_that_cannot_be_written_neither_end_a_run_nor_go_elsewhere(tmp_path, tiny_file, redirection):
    is_null = "[os.path.samestat(os.fstat(number), os.stat(os.devnull)) for number in (0, 2)]"
    (tmp_path / "p.py").write_text(f"import os\nopen('is_null', 'w').write(str({is_null}))\n")
    done = shell(tmp_path, f"$M train tiny.yaml --run-dir run --threads 1 --json --plugin p.py {redirection}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["step"] == 6, "only the result is on stdout"
    assert done.stderr == ""
    if ">&-" in redirection:
        found = (tmp_path / "is_null").read_text()
        assert found == "[True, True]", "else what a library prints goes into the next file that is opened"


def test_a_pipe_that_another_program_made_non_blocking(tmp_path):
    start = "import os, sys; os.set_blocking(1, False); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    (tmp_path / "start.py").write_text(start)
    done = shell(tmp_path, f"{sys.executable} start.py -m metacli sample-tasks copy_ntm -n 30 --json | (sleep 4; cat)")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 1 << 16, "more than a pipe holds"
    json.loads(done.stdout)


def test_a_folder_that_is_gone(tmp_path):
    done = shell(tmp_path, "mkdir gone && cd gone && rmdir ../gone && $M recipes smoke")
    assert done.returncode == 2
    assert done.stderr == "error: the current folder no longer exists\nhint: change to another folder: cd\n"


def test_without_stderr_python_functions_print_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    outcome = metacli.train(TINY, run_dir=tmp_path / "run", threads=1)
    assert outcome.finished
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("args", [["recipes"], ["sample-tasks", "copy_ntm", "-n", "1"], ["eval", "--help"]])
def test_zero_columns_count_as_80(tmp_path, args):
    def run(columns: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": columns}
        command = [sys.executable, "-m", "metacli", *args]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    assert run("0") == run("80") != ""
