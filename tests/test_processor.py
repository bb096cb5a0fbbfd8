from __future__ import annotations

import json
import os

import pytest
import torch

from metacli.compute import cpu
from metacli.config.recipe import load_recipe, recipes_folder
from metacli.errors import UsageError
from metacli.models.encoder import Encoder, EncoderConfig

CPU = torch.device("cpu")
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


@pytest.fixture
def pretend(monkeypatch):
    """A processor with the given flags, of which torch uses `capability`."""

    def call(capability: str, **flags: bool) -> None:
        cpu.has_bfloat16.cache_clear()
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)

    yield call
    cpu.has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("capability", "flags", "limit", "expected"),
    [
        ("AVX512", {"avx512_bf16": True}, "", torch.bfloat16),
        ("AVX512", {"amx_bf16": True}, "ALL", torch.bfloat16),
        ("AVX512", {"avx512_bf16": True}, "AVX512_CORE_BF16", torch.bfloat16),
        ("AVX512", {"avx512_bf16": True}, "avx512_core", torch.float32),
        ("AVX512", {"avx512_bf16": False}, "", torch.float32),
        ("AVX2", {"avx512_bf16": True}, "AVX2", torch.float32),
        ("AVX2", {}, "", torch.float32),
        ("DEFAULT", {}, "", torch.float32),
    ],
)
def test_bfloat16_only_where_the_processor_has_it_and_may_use_it(
    pretend, monkeypatch, capability, flags, limit, expected
):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    pretend(capability, **flags)
    precision, reason = cpu.choose_precision("auto", CPU)
    assert precision is expected
    assert capability in reason
    assert ("with bfloat16" in cpu.instruction_set()) == (expected is torch.bfloat16)
    for asked in (torch.float32, torch.bfloat16):
        assert cpu.choose_precision(str(asked).removeprefix("torch."), CPU) == (asked, "set in the recipe")


def test_auto_computes_as_the_precision_that_it_stands_for(pretend):
    x = torch.rand(4, 5, 1, 28, 28)
    for flags, stands_for in (({"avx512_bf16": True}, "bfloat16"), ({}, "float32")):
        pretend("AVX512", **flags)
        features = []
        for precision in ("auto", stands_for):
            torch.manual_seed(0)
            features.append(Encoder(EncoderConfig(kind="conv", channels=8, precision=precision), (1, 28, 28))(x))
        assert torch.equal(*features)


def test_no_recipe_fixes_a_precision():
    for path in recipes_folder().glob("*.yaml"):
        assert load_recipe(str(path)).model.encoder.precision == "auto", path.name


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_the_containers_quota(tmp_path, monkeypatch, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(cpu, "_CGROUP", tmp_path)
    assert cpu._container_quota() == expected


def test_cores_are_the_least_of_affinity_quota_and_omp_num_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cpu, "_container_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert cpu.available_cores() == (8, "cores of this process")
    monkeypatch.setattr(cpu, "_container_quota", lambda: 2.5)
    assert cpu.available_cores()[0] == 2
    monkeypatch.setattr(cpu, "_container_quota", lambda: 0.5)
    assert cpu.available_cores()[0] == 1
    monkeypatch.setattr(cpu, "_container_quota", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu.available_cores() == (3, "set by OMP_NUM_THREADS")


@pytest.mark.slow
def test_training_with_the_newer_instructions_hidden(cli, tmp_path):
    """As on an ordinary desktop: float32, told and kept, and it learns."""
    keys = ["task.size=16", "task.classes=60", "model.encoder.channels=16", "train.steps=120", "train.batch=16"]
    keys += ["train.eval_every=0", "train.eval_tasks=60", "train.checkpoint_every=0"]
    done = cli("train", "strokes_ntm", *keys, "--run-dir", "run", "--json", **AVX2)
    assert done.returncode == 0, done.stderr
    assert "AVX2" in done.stderr
    assert "convolutions in float32: AVX2 has no instructions for bfloat16" in done.stderr
    run = json.loads(done.stdout)["run_dir"]
    environment = json.loads((tmp_path / run / "env.json").read_text())
    assert (environment["precision"], environment["instructions"]) == ("float32", "AVX2")
    assert json.loads(done.stdout)["best"]["mean"] > 0.35  # guessing: 0.2
    evaluated = cli("eval", "-c", "run", "--tasks", "50", "--json", **AVX2)
    assert json.loads(evaluated.stdout)["d_test_accuracy"]["mean"] > 0.35


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match=r"model.encoder.precision: should be 'auto', 'float32' or 'bfloat16'"):
        load_recipe("strokes_ntm", ["model.encoder.precision=float16"])
