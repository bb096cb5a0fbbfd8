"""Whatever file is given as a checkpoint: read as it was written, or one `error:` line; never another number."""

from __future__ import annotations

import contextlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metacli.checkpoints import checkpoint, file_format
from metacli.checkpoints.provenance import Provenance
from metacli.cli import main as command_line
from metacli.config.recipe import load_recipe, recipe_from_dict
from metacli.errors import MetacliError
from metacli.registry import MODELS, TASKS, build
from metacli.training.optimizer import make_optimizer
from tests.golden import HERE

GOLDEN = sorted(HERE.glob("format*_lstm.safetensors")) + sorted(HERE.glob("format*_mann.safetensors"))


@pytest.fixture
def resumable(tmp_path, tiny) -> Path:
    """A checkpoint of today, with all that there is for resuming."""
    tasks = build(TASKS, tiny.task, 0)
    model = build(MODELS, tiny.model, tasks.spec)
    optimizer = make_optimizer(model, tiny.train)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    path = tmp_path / "last.safetensors"
    content = (tiny, 3, 0.5, model, Provenance.of(tasks), optimizer, {"torch": "2", "threads": 1})
    checkpoint.save(path, checkpoint.Snapshot(*content))
    return path


def used(path: Path) -> checkpoint.Checkpoint:
    """Read, build, and go on for a step where that is what the file is for."""
    saved = checkpoint.load(path)
    model = saved.build_model()
    if saved.optimizer is not None:
        optimizer = make_optimizer(model, saved.recipe.train)
        saved.restore(model, optimizer)
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    return saved


def same(one: Any, other: Any) -> bool:
    """Whether two values are, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def said(saved: checkpoint.Checkpoint) -> tuple[Any, ...]:
    """All that was read from a file."""
    generators = None if saved.random is None else [saved.random.cpu, *saved.random.cuda]
    parts = saved.step, saved.best, saved.model, saved.optimizer, saved.environment
    return (saved.recipe.as_dict(), *parts, generators, saved.provenance.as_dict())


def run(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    """The command line in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["metacli", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    return int(end.value.code or 0)


def forged(data: bytes, old: bytes, new: bytes) -> bytes:
    """A checkpoint whose header was changed, with a length and a digest that are right again."""
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    assert old in header
    header = header.replace(old, new, 1)
    changed = bytearray(len(header).to_bytes(8, "little") + header + data[8 + length :])
    file_format.set_digest(changed)
    return bytes(changed)


@pytest.mark.parametrize("source", [*GOLDEN, "today"], ids=lambda s: getattr(s, "stem", s))
def test_any_damage_is_found(tmp_path, resumable, source):
    source = resumable if source == "today" else source
    whole, rng, path = source.read_bytes(), random.Random(source.name), tmp_path / "x.safetensors"
    used(source)
    for turn in range(120):
        damaged = bytearray(whole)
        if turn % 4 < 3:
            place = rng.randrange(8 * len(damaged))
            damaged[place // 8] ^= 1 << place % 8
        else:
            start = rng.randrange(len(damaged))
            damaged[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(40))
        path.write_bytes(damaged)
        if damaged != whole:
            with pytest.raises(MetacliError):
                checkpoint.load(path)


def test_no_byte_of_the_header_can_be_changed(resumable):
    whole = resumable.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    for place in [*range(0, header_end, 3), *range(header_end, len(whole), 97), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(file_format.RefusedError):
            file_format.decode(bytes(damaged))


FILES = {
    "text": b"hello\n",
    "yaml": b"seed: 0\n",
    "empty": b"",
    "noise": random.Random(0).randbytes(5000),
    "other": safetensors.torch.save({"weights": torch.zeros(3)}),
    "zip": b"PK\x03\x04" + random.Random(0).randbytes(5000),
}


@pytest.mark.parametrize("verb", ["eval", "inspect-memory"])
def test_a_wrong_file_is_one_error(tmp_path, monkeypatch, capsys, verb):
    (tmp_path / "folder" / "best.safetensors").mkdir(parents=True)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    for path in [tmp_path / name for name in (*FILES, "folder", "folder/best.safetensors", "n" * 300)] + ["~nobody/x"]:
        assert run(monkeypatch, verb, "-c", path) in (1, 2), path
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: "), err
        assert len(err) < 1000


def test_a_wrong_file_in_a_process_of_its_own(cli, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"seed: 0\n")
    done = cli("eval", "-c", "x.safetensors")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: x.safetensors: truncated, damaged or not a checkpoint of metacli\n"
        "hint: train again, or resume the run with --resume\n"
    )


WRONG: dict[str, list[Any]] = {
    "format": [0, 4, True, "2", 2.0, None, [3]],
    "metacli": [1, None],
    "recipe": [1.5, [1], "x", None, {}, {"task": {"name": "[/red]"}}],
    "step": ["3", [3], -1, True, 1.5, None, 2**60],
    "best": ["x", [1.0], True],
    "provenance": [3, [], {}, {"classes": {}}, None],
    "environment": [3, [], {"a": [1]}],
    "resumable": [None, 1, False],
    "other": [1],
}


@pytest.mark.parametrize("key", WRONG)
def test_fields_of_a_wrong_kind(resumable, key):
    metadata, tensors = file_format.read_file(resumable)
    for value in WRONG[key]:
        file_format.write_file(resumable, metadata | {key: value}, tensors)
        with pytest.raises(MetacliError, match=r"last\.safetensors"):
            used(resumable)


@pytest.mark.parametrize("key", ["format", "metacli", "recipe", "step", "best", "provenance", "environment"])
def test_fields_that_are_missing(resumable, key):
    metadata, tensors = file_format.read_file(resumable)
    del metadata[key]
    file_format.write_file(resumable, metadata, tensors)
    with pytest.raises(MetacliError, match=key):
        checkpoint.load(resumable)


def test_an_optimizer_or_weights_of_other_shapes_or_kinds(resumable):
    metadata, tensors = file_format.read_file(resumable)
    key = next(name for name in tensors if name.startswith("model."))
    for other in (tensors[key][:-1], tensors[key].to(torch.complex64), tensors[key].long()):
        file_format.write_file(resumable, metadata, tensors | {key: other})
        with pytest.raises(MetacliError, match="do not fit model 'lstm'"):
            used(resumable)
    mean = tensors["optimizer.0.exp_avg"]
    for wrong in (mean[:-1], mean.long(), mean / 0):
        file_format.write_file(resumable, metadata, tensors | {"optimizer.0.exp_avg": wrong})
        with pytest.raises(MetacliError, match=r"last\.safetensors: (its|the) optimizer('s)?"):
            used(resumable)
    for wrong in (torch.zeros(3), torch.zeros(9, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)):
        file_format.write_file(resumable, metadata, tensors | {"random.cpu": wrong})
        with pytest.raises(MetacliError, match=r"last\.safetensors: the states of its random generators"):
            used(resumable)
    for name in ("model", "optimizer.00.exp_avg", "optimizer.x.exp_avg", "random.cuda.1", "random.cuda", "x"):
        file_format.write_file(resumable, metadata, tensors | {name: mean})
        with pytest.raises(MetacliError, match=r"last\.safetensors: "):
            checkpoint.load(resumable)


def test_a_recipe_of_a_model_far_larger_than_its_weights(resumable):
    metadata, tensors = file_format.read_file(resumable)
    metadata["recipe"]["model"] |= {"hidden": 8192, "layers": 16}  # 34 GB
    file_format.write_file(resumable, metadata, tensors)
    with pytest.raises(MetacliError, match="far larger than the weights"):
        used(resumable)
    metadata["recipe"]["model"] |= {"hidden": 10**9}
    file_format.write_file(resumable, metadata, tensors)
    with pytest.raises(MetacliError, match="less than or equal to 8192"):
        used(resumable)


DEEP = b"[" * 100_000 + b"]" * 100_000
FORGERIES: dict[str, tuple[bytes, bytes, str]] = {  # what of a header is replaced by what, and what is said of it
    "a tensor twice": (b'"model.', b'"model.lstm":{},"model.lstm":{},"model.', "a name occurs twice"),
    "a tensor twice, spelt otherwise": (b'"model.', b'"\\u006d":{},"m":{},"model.', "a name occurs twice"),
    "a field twice": (b'\\"step\\":', b'\\"step\\":1,\\"step\\":', "a name occurs twice"),
    "metadata twice": (b'}"},"', b'}"},"__metadata__":{},"', "a name occurs twice"),
    "more metadata": (b'}"},"', b'}","more":""},"', "not a checkpoint of metacli"),
    "not a number": (b'\\"best\\":0.5', b'\\"best\\":NaN', "not a checkpoint of metacli"),
    "infinite": (b'\\"best\\":0.5', b'\\"best\\":-Infinity', "not a checkpoint of metacli"),
    "overflowing": (b'\\"best\\":0.5', b'\\"best\\":1e999', "best: Input should be a finite number"),
    "endless digits": (b'\\"step\\":3', b'\\"step\\":' + b"3" * 10_000, "not a checkpoint of metacli"),
    "deep metadata": (b'\\"step\\":3', b'\\"step\\":' + DEEP, "not a checkpoint of metacli"),
    "deep header": (b'}"},"', b'}"},"x":' + DEEP + b',"', "not a checkpoint of metacli"),
    "a deep recipe": (b'\\"seed\\":', b'\\"x\\":' + b"[" * 40 + b"]" * 40 + b',\\"seed\\":', "its recipe"),
    "a huge recipe": (b'\\"seed\\":', b'\\"x\\":[0' + b",0" * 20_000 + b'],\\"seed\\":', "its recipe"),
    "another kind of number": (b'"dtype":"F32"', b'"dtype":"F8_E4M3"', "a dtype that no checkpoint uses"),
    "a kind of number that is none": (b'"dtype":"F32"', b'"dtype":["F32"]', "a dtype that no checkpoint uses"),
    "a longer tensor": (b'"shape":[', b'"shape":[1000000000000,', "not a checkpoint of metacli: "),
    "a tensor of no size": (b'"shape":[', b'"shape":[-1,', "not a checkpoint of metacli: "),
    "a tensor beyond the file": (b'"data_offsets":[', b'"data_offsets":[9', "not a checkpoint of metacli: "),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_forgeries_with_a_digest_that_is_right(resumable, how):
    old, new, words = FORGERIES[how]
    resumable.write_bytes(forged(resumable.read_bytes(), old, new))
    with pytest.raises(MetacliError, match=rf"(?s)last\.safetensors: .*{words}"):
        checkpoint.load(resumable)


def test_bytes_behind_the_tensors_and_absurd_lengths(resumable):
    whole = resumable.read_bytes()
    longer = bytearray(whole + b"more")
    file_format.set_digest(longer)
    for data, words in (
        (whole.replace(b'}"},"', b'}"},"\\"file_sha256\\":\\"' + b"0" * 64 + b'\\"":{},"', 1), "damaged"),
        (whole + b"\0", "damaged"),
        (bytes(longer), "not a checkpoint of metacli: "),
        (whole + whole, "damaged"),
        (bytes(8) + whole[8:], "not a checkpoint"),
        (b"\xff" * 8 + whole[8:], "not a checkpoint"),
        (len(whole).to_bytes(8, "little") + whole[8:], "not a checkpoint"),
    ):
        resumable.write_bytes(data)
        with pytest.raises(MetacliError, match=rf"last\.safetensors: .*{words}"):
            checkpoint.load(resumable)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, monkeypatch, capsys, tiny_file, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        run(patch, "train", tiny_file, "train.steps=2", "train.eval_every=0", "--run-dir", "run", "--threads", "1")
    run_dir = tmp_path / "run"
    for name in ("best.safetensors", "last.safetensors"):
        metadata, tensors = file_format.read_file(run_dir / name)
        weights = [name for name in tensors if name.startswith("model.")]
        tensors[weights[1]].view(-1)[3:5] = value
        file_format.write_file(run_dir / name, metadata, tensors)
        key = weights[1].removeprefix("model.")
    capsys.readouterr()
    for command in (
        ("eval", "-c", run_dir, "--json"),
        ("inspect-memory", "-c", run_dir, "--json"),
        ("train", "--resume", run_dir),
    ):
        assert run(monkeypatch, *command) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"weights that are not finite in 1 of {len(weights)} tensors, first {key}: 2 of" in err


def test_the_data_and_what_was_computed_with_are_recorded(cli, tmp_path, tiny_file):
    assert cli("train", tiny_file, "--run-dir", "run", "--threads", "1").returncode == 0
    noted = json.loads((tmp_path / "run" / "env.json").read_text())
    best, last = (checkpoint.load(tmp_path / "run" / name) for name in ("best.safetensors", "last.safetensors"))
    assert best.environment == last.environment == noted
    assert noted["data"] == last.provenance.digest
    assert {"metacli", "python", "torch", "numpy", "processor", "device", "threads", "precision"} <= noted.keys()
    found = json.loads(cli("eval", "-c", "run", "--tasks", "5", "--threads", "1", "--json").stdout)
    assert found["data"] == noted["data"]
    same_here = ("metacli", "python", "torch", "numpy", "platform", "processor", "device", "threads", "precision")
    assert {key: found["environment"][key] for key in same_here} == {key: noted[key] for key in same_here}


class _Unwritable:
    def __repr__(self) -> str:
        raise OSError("no text")


_CIRCLE: list[Any] = []
_CIRCLE.append(_CIRCLE)
_PLAIN = [1.5, (1, 2), [1], None, True, -1, 10**5000, float("nan"), "x", "a" * 10**5, {}, {1: 2}, {None: 1}, b"x"]
_ODD = [_CIRCLE, _Unwritable(), object, {"name": []}, {"name": "ntm"}, torch.zeros(2), "[/red]"]
_VALUES = st.sampled_from([*_PLAIN, *_ODD])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_recipe_of_any_value_is_read_or_refused(data):
    tree: Any = load_recipe("smoke").as_dict()
    for _ in range(data.draw(st.integers(1, 2))):
        tree = _changed(tree, data)
    with contextlib.suppress(MetacliError):
        recipe_from_dict(tree, "x")


def _changed(tree: Any, data: st.DataObject) -> Any:
    """A copy with a value put somewhere."""
    if not isinstance(tree, dict) or not data.draw(st.integers(0, 8)):
        return data.draw(_VALUES)
    key = data.draw(st.sampled_from([*tree, "other", 3]))
    return {**tree, key: _changed(tree.get(key), data)}
