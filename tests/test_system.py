"""What Linux has and others have not, taken away: each fall-back works, and nobody else asks for the system."""

from __future__ import annotations

import ast
import errno
import os
import platform
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_rundir import called, run, trained  # noqa: F401  fixtures

from metacli.cli import main as command_line
from metacli.compute import cpu, device
from metacli.system import operating_system, peak_memory, signals

PACKAGE = Path(__file__).parent.parent / "metacli"
LONG = "x" * 300
_ASKS = re.compile(
    r"sys\.platform|\bos\.name\b|platform\.system|(?:has|get)attr\((?:os|signal|socket|time)\b|\bctypes\b"
    r"|import (?:resource|fcntl|msvcrt|pwd|grp|winreg)\b|/proc/|/sys/|sched_|\bO_[A-Z]{3,}|\bSO_[A-Z]{3,}|signal\.SIG"
    r"|\bos\.(?:fork|getuid|geteuid|kill|umask|chmod|symlink|link|mkfifo|uname|getloadavg|posix_\w+)\b|\.expanduser\("
)


def modules():
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def test_nobody_else_asks_for_the_system():
    asking = [f"{name}: {found[0]}" for name, text in modules().items() for found in _ASKS.finditer(text)]
    allowed = ("system/", "compute/", "plugins.py: .expanduser(")
    assert [found for found in asking if not found.startswith(allowed)] == []


def test_text_is_read_and_written_the_same_everywhere():
    """As UTF-8 whatever the locale, and with lines that end in one character."""
    wrong = []
    for name, text in modules().items():
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            keys = {key.arg for key in call.keywords}
            plain = called == "open" and isinstance(call.func, ast.Name)
            modes = [a.value for a in call.args[1:2] if isinstance(a, ast.Constant)]
            binary = plain and any("b" in mode for mode in modes)
            told = "encoding" in keys or (called == "read_text" and call.args) or len(call.args) > 1 + plain
            writes = called == "write_text" or (plain and any(set("wax") & set(mode) for mode in modes))
            if (
                (plain or called in ("read_text", "write_text"))
                and not binary
                and (not told or (writes and "newline" not in keys and "os.devnull" not in ast.unparse(call)))
            ):
                wrong.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert [line for line in wrong if "_CLEAR" not in line] == []


@pytest.mark.parametrize(
    "name", ["a", "strokes_ntm", "my recipe", "é" * 100, "console", "com", "com10", "a.b", "auxiliary"]
)
def test_names_of_folders(name, tmp_path):
    assert operating_system.is_portable_folder_name(name)
    (tmp_path / name).mkdir()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "c:",
        "a\0",
        "x" * 101,
        "\U0001f600" * 100,
        "a.",
        "a ",
        ".a",
        "\udcff",
        "a?",
        "\x1b[2J",
        "con",
        "CON",
        "NUL.txt",
        "aux.tar.gz",
        "com1",
        "LPT9.x",
        "prn ",
        "com\u00b9",
        "conin$",
    ],
)
def test_names_that_are_none(name):
    assert not operating_system.is_portable_folder_name(name)


def test_without_a_home_folder(monkeypatch):
    assert operating_system.expand_home("~/x") == Path.home() / "x"
    assert operating_system.expand_home("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_every_path_may_begin_with_the_home_folder(run, tmp_path, monkeypatch, capsys):  # noqa: F811
    """As in --run-dir=~/x, where a shell leaves the `~` as it is."""
    import metacli

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))  # Windows
    home = Path.home()
    home.mkdir()
    (home / "mine.yaml").write_bytes((run / "recipe.yaml").read_bytes())
    for words in (
        ("recipes", "copy_ntm", "--copy=~/copy.yaml"),
        ("sample-tasks", "~/mine.yaml", "-n", 1, "--npz=~/tasks.npz"),
        ("train", "~/mine.yaml", "--run-dir=~/new", "--threads", 1),
        ("train", "--resume=~/new", "train.steps=7", "--threads", 1),
        ("curves", "~/new", "--csv", "~/curves.csv"),
        ("eval", "-c", "~/new", "--tasks", 2, "--threads", 1),
        ("inspect-memory", "~/new", "--out", "~/look", "--format", "json", "--threads", 1),
        ("runs", "~"),
        ("runs", "~/new", run),
    ):
        code, err = called(monkeypatch, capsys, *words)
        assert code == 0, err
    metacli.train("~/mine.yaml", run_dir="~/python", quiet=True)
    metacli.train(None, "train.steps=7", resume="~/python", quiet=True)
    names = {"copy.yaml", "curves.csv", "look", "mine.yaml", "new", "python", "tasks.npz"}
    assert {path.name for path in home.iterdir()} == names
    assert {path.name for path in tmp_path.iterdir()} == {"home", "run"}


def test_a_cache_without_a_home_folder(tmp_path):
    """The environment of a container whose user is in no list of users."""
    script = (
        "import os, pathlib; os.path.expanduser = lambda path: path\n"
        "import numpy as np\n"
        "from metacli.system import cache\n"
        "made = cache.load_or_make('a', lambda: {'x': np.arange(3)})\n"
        "again = cache.load_or_make('a', lambda: 1 / 0)\n"
        "print(cache.directory(), made['x'].tolist() == again['x'].tolist())"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("METACLI_CACHE", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": str(PACKAGE.parent), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place, same = done.stdout.split()
    assert (Path(place).parent, same) == (tmp_path, "True")
    assert list(tmp_path.iterdir()) == [], "nothing is left, neither there nor here"


def test_signals_that_there_are_not(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    assert operating_system.stop_signals() == [signal.SIGINT, signal.SIGTERM]
    with signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.code == 143
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    with signals.StopSignal() as stop:
        signal.raise_signal(signal.SIGUSR1)
    assert stop.code == 128 + signal.SIGUSR1


def test_a_handler_that_python_did_not_set_is_put_back_as_the_default(monkeypatch):
    stop = signals.StopSignal()
    stop._previous = {signal.SIGUSR1: None}
    stop.__exit__()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.mark.parametrize("lacks", ["ctypes", "library", "argument", "function"])
def test_without_glibc(monkeypatch, lacks):
    import ctypes

    def fails(error):
        def load(_):
            raise error

        return load

    if lacks == "ctypes":
        monkeypatch.setitem(sys.modules, "ctypes", None)
    elif lacks == "function":
        monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    else:
        monkeypatch.setattr(ctypes, "CDLL", fails(OSError() if lacks == "library" else TypeError()))
    device.set_up_torch(0)
    operating_system.release_freed_memory()


def test_without_affinity_cgroups_and_cpuinfo(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cpu.available_cores() == (5, "cores of this process")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: (_ for _ in ()).throw(OSError()), raising=False)
    assert cpu.available_cores()[0] == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu.available_cores()[0] == 1

    def unreadable(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert cpu.processor_name() == (platform.processor() or platform.machine())


def test_without_proc_and_getrusage(monkeypatch, tmp_path):
    monkeypatch.setattr(peak_memory, "_CLEAR", tmp_path / "none" / "clear_refs")
    worked = []
    assert peak_memory.measure_increase(lambda: worked.append(1), torch.device("cpu")) is None
    assert worked == [1]
    for text in (None, "Name:\tpython\n"):  # some sandboxes tell less
        if text:
            (tmp_path / "status").write_text(text)
        monkeypatch.setattr(peak_memory, "_STATUS", tmp_path / "status")
        assert 2**20 < peak_memory.peak_resident_bytes() < 2**40
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory.peak_resident_bytes() is None


def test_a_port_that_is_in_use_stays_its_owners(monkeypatch):
    set_to = []
    listener = SimpleNamespace(setsockopt=lambda level, option, value: set_to.append(option))
    operating_system.claim_port(listener)
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    operating_system.claim_port(listener)
    assert set_to == [socket.SO_REUSEADDR, -5]


def test_a_reader_that_is_gone(monkeypatch):
    odd = OSError(errno.EINVAL, "Invalid argument")
    assert operating_system.is_closed_pipe(BrokenPipeError())
    assert not operating_system.is_closed_pipe(odd)
    assert not operating_system.is_closed_pipe(OSError(errno.ENOSPC, "full"))
    monkeypatch.setattr(operating_system, "os", SimpleNamespace(name="nt"))
    assert operating_system.is_closed_pipe(odd)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["eval", "-c", LONG], 2, "no checkpoint"),
        (["eval", "-c", f"{LONG}/x.safetensors"], 2, "no such file or folder"),
        (["eval", "-c", "~nobody-of-this-name/x"], 2, "no checkpoint '~nobody-of-this-name/x'"),
        (["train", LONG], 2, "no recipe"),
        (["train", "smoke", "--run-dir", LONG], 1, "cannot write the run directory"),
        (["train", "smoke", "--init", LONG], 2, "no checkpoint"),
        (["train", "--resume", LONG], 2, "no such folder"),
        (["predict", "--support", LONG, "--query", "x"], 2, "is not a folder"),
        (["recipes", "--plugin", f"{LONG}.py"], 2, "no such file"),
        (["train", "smoke", "name=" + "\U0001f600" * 100], 2, "cannot be the name of a folder"),
        (["train", "smoke", "name=nul"], 2, "cannot be the name of a folder"),
    ],
)
def test_names_that_are_too_long_or_not_for_all_systems(monkeypatch, capsys, tmp_path, args, code, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["metacli", *args])
    with pytest.raises(SystemExit) as e:
        command_line.main()
    streams = capsys.readouterr()
    assert e.value.code == code
    assert words in streams.err
    assert streams.out == ""
    assert list(tmp_path.iterdir()) == []
