"""A result that has nowhere to go is a failure in one line, whatever prints it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_no_stdout_at_all(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = '"$0" -m metacli --version >&-'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, env=env, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: cannot write the result to stdout: it is closed")


@pytest.mark.parametrize("args", [["recipes"], ["sample-tasks", "copy_ntm", "-n", "1"], ["eval", "--help"]])
def test_zero_columns_count_as_80(tmp_path, args):
    def run(columns: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": columns}
        command = [sys.executable, "-m", "metacli", *args]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    assert run("0") == run("80") != ""
