"""A command run in this process under watch: its outcome, within bounds of time and memory, and what it touched."""

from __future__ import annotations

import faulthandler
import io
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

SECONDS = 60  # for one command, on a machine that may be busy
MEMORY = 3 << 30  # bytes that a command may ask the system for, beyond what the process has when it begins
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what drives a terminal, but for tab and newline
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
NOWHERE = ("/dev/null", "/proc/self/clear_refs")  # the second forgets the peak of memory so far
QUERIES = (("uname",), ("fc-list",))  # of `platform`, and of matplotlib for its fonts
ESCAPES = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pty.spawn"}


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        argv: the command's arguments, without `metacli`.
        right: looks at an outcome of exit status 0; raises an AssertionError where a number is wrong.
        encoding: of stdout and stderr.
    """

    argv: list[str]
    right: Callable[[Outcome], None] | None = None
    encoding: str = "utf-8"


@dataclass
class Outcome:
    """What became of a command.

    Attributes:
        code: the exit status.
        out: what it wrote to stdout.
        err: and to stderr.
        seconds: how long it took.
        raised: the traceback that a person would have seen, or empty.
        outside: what it did to anything but its own folder and the cache.
    """

    code: Any = 0
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    raised: str = ""
    outside: list[str] = field(default_factory=list)

    def json(self) -> Any:
        """stdout as JSON; raises an AssertionError where it is none."""
        try:
            return json.loads(self.out)
        except ValueError as e:
            raise AssertionError(f"stdout is no JSON: {e}") from None


class TooLongError(BaseException):
    """A command took longer than it may."""


class Watch:
    """Hears of every file that Python opens to write, and of every program and connection that it starts.

    Args:
        allowed: folders that may be written to.
    """

    def __init__(self, *allowed: Path):
        self.outcome: Outcome | None = None
        self._allowed = [os.path.realpath(path) for path in allowed]
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.outcome is None:
            return
        if event in ESCAPES and args[:1] not in QUERIES:
            self.outcome.outside.append(f"{event}{args!r:.200}")
        elif event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITES):
            paths = args[:2] if event in ("os.rename", "os.link") else args[:1]
            self.outcome.outside += [f"{event} {p!r:.200}" for p in paths if self._is_outside(p)]

    def _is_outside(self, path: Any) -> bool:
        if isinstance(path, int) or os.fsdecode(path) in NOWHERE:
            return False
        folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
        real = os.path.join(os.path.realpath(folder), name)  # a link that is replaced stays where it is
        return "__pycache__" not in real and not any(
            f"{real}{os.sep}".startswith(f"{top}{os.sep}") for top in self._allowed
        )


@contextmanager
def _timed(seconds: int) -> Iterator[None]:
    def over(*_: object) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)  # again and again, should the first be swallowed
    faulthandler.dump_traceback_later(3 * seconds, exit=True)  # where not even a signal is heard
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def run(case: Case, watch: Watch | None = None, seconds: int = SECONDS) -> Outcome:
    """Run `metacli` with a case's arguments in the working directory."""
    from metacli.cli import main as command_line

    outcome = Outcome()
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=case.encoding, newline="\n") for _ in range(2))
    err.reconfigure(errors="backslashreplace")  # as Python opens stderr
    argv, sys.argv = sys.argv, ["metacli", *case.argv]
    began = time.monotonic()
    if watch:
        watch.outcome = outcome
    try:
        with _timed(seconds), redirect_stdout(out), redirect_stderr(err):
            try:
                command_line.main()
            finally:
                out.flush()
    except SystemExit as e:
        outcome.code = e.code or 0
    except TooLongError:
        outcome.code, outcome.raised = "too long", traceback.format_exc()
    except BaseException:  # whatever it is, a person would have seen it
        outcome.code, outcome.raised = "traceback", traceback.format_exc()
    finally:
        if watch:
            watch.outcome = None
        sys.argv = argv
        torch.set_flush_denormal(False)  # as training leaves it, hypothesis draws no floats
    outcome.seconds = time.monotonic() - began
    err.flush()
    outcome.out, outcome.err = (s.buffer.getvalue().decode(case.encoding, "replace") for s in (out, err))  # type: ignore[attr-defined]
    return outcome


def judge(case: Case, outcome: Outcome) -> tuple[str, str]:
    """The outcome in a word, `done` and `refused` being those that are allowed, and what there is to say of it.

    What stands before ` | ` is alike for faults that are alike.
    """
    said = outcome.err.splitlines()
    if outcome.outside:
        return "outside", "; ".join(outcome.outside[:3])
    if outcome.raised or "Traceback (most recent call last)" in outcome.err:
        return str(outcome.code), place(outcome.raised or outcome.err)
    if outcome.code not in (0, 1, 2):
        return f"exit {outcome.code}", f"{case.argv[0]} | {outcome.err[-300:]}"
    for text in (outcome.out, outcome.err):
        if found := CONTROL.search(text):
            return "raw control character", f"{case.argv[0]} | {text[max(0, found.start() - 40) : found.end() + 40]!r}"
    if outcome.code == 0:
        try:
            if case.right:
                case.right(outcome)
        except AssertionError as e:
            return "wrong", f"{case.argv[0]} | {str(e)[:600]}"
        return "done", ""
    explained = next((line for line in said if line.startswith("error: ")), "")
    return ("refused", explained[:100]) if explained else ("no message", f"{case.argv[0]} | {outcome.err[-300:]!r}")


def place(text: str) -> str:
    """The last line of a traceback, and the last line of metacli's own that it names."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("File ") and f"{os.sep}metacli{os.sep}" in line]
    where = re.sub(r'File ".*?(metacli/[^"]*)", line (\d+).*', r"\1:\2", own[-1]) if own else "?"
    error = next(
        (line for line in reversed(lines) if re.match(r"[\w.]+(Error|Exception|Iteration|Warning)\b", line)), ""
    )
    kind, _, message = (error or lines[-1]).partition(":")
    return f"{where}: {kind} | {message[:300]}"


def limit_memory() -> None:
    """From now on this process may ask for `MEMORY` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
    if pages:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))


def peak_mib() -> int:
    """The most memory that this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most >> (20 if sys.platform == "darwin" else 10)
