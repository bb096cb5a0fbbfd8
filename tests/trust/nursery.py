"""The command line in children of one process that has torch loaded: a tenth of a second each, where a start takes two.

A child can be told to come to grief at its n-th call that changes a file: see `faults`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit status, minus the signal's number where one ended it.
        calls: how often it was about to change a file; 0 where a signal ended it.
        seconds: its life.
        out: what it wrote to stdout.
        err: what it wrote to stderr.
    """

    code: int
    calls: int
    seconds: float
    out: str
    err: str


class Nursery:
    """Starts children in a folder, one at a time.

    Args:
        folder: their working directory; the cache is below it.
        launcher: a command that the whole nursery is started by.
    """

    def __init__(self, folder: Path, launcher: tuple[str, ...] = ()):
        self.folder = folder
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "METACLI_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "80",
        }
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "tests.trust.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(
        self,
        *args: object,
        fault: str = "",
        at: int = 0,
        after: float = 0.0,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """`metacli ARGS...` to its end.

        Args:
            fault: what happens at call number `at` (from 1); see `faults.FAULTS`; empty for nothing.
            after: seconds until it is killed; 0 for never.
            cwd: its working directory; None for the nursery's folder.
            environment: variables to set; its others METACLI_* are removed. None for those of the nursery.
        """
        place = str(cwd or self.folder)
        asked = {"args": [str(a) for a in args], "cwd": place, "fault": fault, "at": at, "after": after}
        return self.ask({**asked, "environment": environment})

    def ask(self, request: dict[str, Any]) -> Ended:
        """One request to the process, in its own words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has died"
        return Ended(**json.loads(answer))


def serve() -> None:
    """Answer requests, a line of JSON each, on stdin and stdout."""
    for line in sys.stdin:
        print(json.dumps(_lived(json.loads(line))), flush=True)


def _lived(request: dict[str, Any]) -> dict[str, Any]:
    """Start a child, kill it if that is asked for, and tell how it ended."""
    reading, writing = os.pipe()
    outs, errs = (os.memfd_create(name) for name in ("out", "err"))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(outs, 1)
        os.dup2(errs, 2)
        _live(request, writing)
    os.close(writing)
    if request.get("after"):
        timer = threading.Timer(request["after"], os.kill, (child, signal.SIGKILL))
        timer.start()
    with open(reading, encoding="utf-8") as stream:  # to its end, which is the child's
        calls, *modules = stream.read().split() or ["0"]
    status = os.waitpid(child, 0)[1]
    if request.get("after"):
        timer.cancel()
    for name in modules:  # what it had to load, the next one need not
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "calls": int(calls),
        "seconds": time.monotonic() - began,
        "out": _content(outs),
        "err": _content(errs),
    }


def _content(file: int) -> str:
    with open(file, "rb") as stream:
        stream.seek(0)
        return stream.read().decode(errors="replace")


def _live(request: dict[str, Any], told: int) -> None:
    """The child: the command line as `python -m metacli` has it, then no way back into this process."""
    import traceback

    from tests.trust.faults import Faults

    code, before = 1, set(sys.modules)
    faults = Faults(request.get("fault", ""), request.get("at", 0))
    try:
        os.chdir(request["cwd"])
        if (environment := request.get("environment")) is not None:
            for name in [name for name in os.environ if name.startswith("METACLI_")]:
                del os.environ[name]
            os.environ.update(environment)
        sys.argv = ["metacli", *request["args"]]
        with faults:
            from metacli.cli.main import main

            main()
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(told, " ".join([str(faults.calls), *(set(sys.modules) - before)]).encode())
        os._exit(code)


if __name__ == "__main__":
    serve()
