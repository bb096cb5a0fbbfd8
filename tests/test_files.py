"""Every file is written whole or not at all, and a failure says which, why and how much."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from metacli.errors import MetacliError
from metacli.system import cache, files

ROOT = Path(__file__).parent.parent
REAL_WRITE = os.write


def failing(monkeypatch, call: str, number: int) -> None:
    """Let a system call fail, a write after a few bytes."""

    def fail(*args, **_):
        if call == "write":
            REAL_WRITE(args[0], bytes(args[1][:3]))
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        ("write", errno.ENOSPC, r"No space left on device, 12\.3 kB to write, .* free$"),
        ("open", errno.ENOSPC, r"No space left on device, 12\.3 kB to write, .* free$"),
        ("fsync", errno.EDQUOT, r"quota exceeded, 12\.3 kB to write$"),
        ("write", errno.EFBIG, r"File too large, 12\.3 kB to write$"),
        ("open", errno.EROFS, "Read-only file system$"),
        ("open", errno.EACCES, "Permission denied$"),
        ("replace", errno.EACCES, "Permission denied$"),
        ("open", errno.ENAMETOOLONG, "File name too long$"),
        ("write", errno.EIO, "Input/output error$"),
    ],
)
def test_a_failure_is_told_and_leaves_what_was_there(tmp_path, monkeypatch, call, number, words):
    path = tmp_path / "a.bin"
    files.write(path, b"old")
    failing(monkeypatch, call, number)
    with pytest.raises(MetacliError, match=words) as e:
        files.write(path, bytes(12345), "do this")
    monkeypatch.undo()
    assert e.value.message.startswith(f"cannot write {path}: ")
    assert (e.value.hint, e.value.code) == ("do this", 1)
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_line_is_added_whole_or_not_at_all(tmp_path, monkeypatch, number):
    path = tmp_path / "lines"
    files.append(path, "one\n")
    failing(monkeypatch, "write", number)
    with pytest.raises(MetacliError, match=r"cannot write .*lines: "):
        files.append(path, "two, which is longer\n")
    monkeypatch.undo()
    assert path.read_text() == "one\n"
    files.append(path, "three\n")
    assert path.read_text() == "one\nthree\n"


def test_names_may_be_as_long_as_the_system_allows(tmp_path):
    files.write(tmp_path / ("a" * 250 + ".png"), b"x")
    files.write(tmp_path / ("é" * 120), b"x")
    with pytest.raises(MetacliError, match="File name too long"):
        files.write(tmp_path / ("a" * 300), b"x")
    with pytest.raises(MetacliError, match="null"):
        files.write(tmp_path / "a\0b", b"x")
    with pytest.raises(MetacliError, match="it is a folder"):
        files.write(tmp_path, b"x")
    assert len(list(tmp_path.iterdir())) == 2


def test_pieces_that_the_system_takes_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda file, content: REAL_WRITE(file, bytes(content[:5])))
    files.write(tmp_path / "a", bytes(range(99)))
    assert (tmp_path / "a").read_bytes() == bytes(range(99))


def test_text_that_has_no_utf8_is_written_all_the_same(tmp_path):
    files.write(tmp_path / "a", "é\udcff")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\\udcff"


def test_a_new_file_takes_nothings_place(tmp_path):
    files.write(tmp_path / "a", b"1", new=True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("a", "link"):
        with pytest.raises(FileExistsError):
            files.write(tmp_path / taken, b"2", new=True)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_where_a_file_has_one_name_only_a_new_one_is_written_too(tmp_path, monkeypatch):
    failing(monkeypatch, "link", errno.EPERM)
    files.write(tmp_path / "a", b"1", new=True)
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "a", b"2", new=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    files.write(pipe, b"through")
    reader.join(10)
    assert got == [b"through"]
    assert pipe.is_fifo()


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    dead = tmp_path / ".last.safetensors.0123abcd.part"
    names = (".last.safetensors.part", "last.safetensors.0123abcd.part", ".x.0123ABCD.part", "x.part")
    others = [tmp_path / name for name in names]
    for path in (dead, *others):
        path.write_bytes(b"half")
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom metacli.system import files\n"
        "def fsync(file):\n    print('writing', flush=True)\n    sys.stdin.readline()\n"
        "os.fsync = fsync\nfiles.write(Path(sys.argv[1]), b'whole')\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", script, str(tmp_path / "slow")]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, **pipes) as writer:
        assert writer.stdout.readline() == "writing\n"
        files.remove_abandoned(tmp_path)
        assert len(list(tmp_path.glob(".slow.*.part"))) == 1
        assert not dead.exists()
        assert all(path.exists() for path in others)
        writer.communicate("\n" * 9)
    assert (tmp_path / "slow").read_bytes() == b"whole"


def test_a_file_that_is_swept_away_at_its_birth_is_written_again(tmp_path, monkeypatch):
    real, swept = os.open, []

    def open_and_sweep(path, flags, *rest):
        file = real(path, flags, *rest)
        if flags & os.O_EXCL and not swept:
            swept.append(path)
            os.unlink(path)
        return file

    monkeypatch.setattr(os, "open", open_and_sweep)
    files.write(tmp_path / "a", b"whole")
    assert swept
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_cache_is_swept_when_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path))
    (tmp_path / ".omniglot.npz.0123abcd.part").touch()
    cache.store(tmp_path / "a.npz", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_cache_that_cannot_be_written_is_told_with_the_sizes(tmp_path, monkeypatch, capsys):
    failing(monkeypatch, "write", errno.ENOSPC)
    cache.store(tmp_path / "a.npz", bytes(2000))
    err = capsys.readouterr().err
    assert "a.npz: No space left on device, 2 kB to write, " in err
    assert "continuing without" in err


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on a process")
@pytest.mark.parametrize("option", ["--npz", "--png"])
def test_a_limit_on_the_size_of_files(tiny_file, tmp_path, option):
    """The system's own refusal, through the command line."""
    script = f'ulimit -f 0; exec "$0" -m metacli sample-tasks {tiny_file} {option} out.{option[2:]}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: cannot write out.{option[2:]}: File too large, " in done.stderr
    assert "D_train" in done.stdout  # the result was shown
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]
