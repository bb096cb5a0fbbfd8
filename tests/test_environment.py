"""The settings of a session change no result and break no call, and a call leaves them as they were."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image, ImageFile

import metacli
from metacli.classifier import few_shot_model
from metacli.cli.main import main
from metacli.compute.settings import flushes_denormals, own_settings
from metacli.show import figures
from metacli.tasks.images.preprocess import decode

CLUSTERS = {
    "task": {"name": "clusters"},
    "model": {"name": "transformer", "width": 48, "layers": 1, "init": "content"},
    "train": {"steps": 3, "batch": 4, "eval_every": 2, "eval_tasks": 5, "checkpoint_every": 2},
}
STROKES = {
    "task": {"name": "strokes", "ways": 3, "shots": 2, "size": 12, "rotation": 10, "shift": 1, "instances": 12},
    "model": {"name": "mann", "hidden": 8, "locations": 4, "width": 4, "encoder": {"kind": "conv", "channels": 4}},
    "train": {"steps": 1, "batch": 2, "eval_every": 1, "eval_tasks": 2, "checkpoint_every": 1},
}


@contextmanager
def changed(get, set_, value):
    before = get()
    set_(value)
    try:
        yield
    finally:
        set_(before)


def backend(path: str, value):
    """A setting below `torch.backends`."""
    *owners, name = path.split(".")
    owner = torch.backends
    for part in owners:
        owner = getattr(owner, part)
    return changed(lambda: getattr(owner, name), lambda new: setattr(owner, name, new), value)


@contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SESSIONS = {
    "float64": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "bfloat16": lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "fast products": lambda: changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "deterministic": lambda: changed(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, "error"),
    "no oneDNN": lambda: backend("mkldnn.enabled", False),
    "no kernel of attention": lambda: changed(
        torch.backends.cuda.math_sdp_enabled, torch.backends.cuda.enable_math_sdp, False
    ),
    "denormals": lambda: changed(flushes_denormals, torch.set_flush_denormal, True),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "numerical errors": lambda: np.errstate(all="raise"),
    "printed numbers": lambda: np.printoptions(precision=1, suppress=True, legacy="1.13"),
    "warnings": warnings_as_errors,
}
if hasattr(torch.backends, "fp32_precision"):
    SESSIONS |= {
        "precision": lambda: backend("fp32_precision", "tf32"),
        "precision of products": lambda: backend("mkldnn.matmul.fp32_precision", "bf16"),
    }


def settings() -> dict:
    """What a call must leave as it was."""
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:
        products = "contradictory"
    newer = ("cuda.matmul", "mkldnn.matmul", "cudnn.conv") if hasattr(torch.backends, "fp32_precision") else ()
    numpy_state = np.random.get_state()
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "products": products,
        "precision": [_precision(path) for path in newer],
        "deterministic": torch.get_deterministic_debug_mode(),
        "kernels": (torch.backends.mkldnn.enabled, torch.backends.cuda.math_sdp_enabled()),
        "denormals": flushes_denormals(),
        "threads": torch.get_num_threads(),
        "anomalies": torch.is_anomaly_enabled(),
        "numpy": (np.geterr(), np.get_printoptions()),
        "warnings": list(warnings.filters),
        "random": (random.getstate(), torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2]),
        "environment": dict(os.environ),
    }


def _precision(path: str) -> str:
    owner, operation = path.split(".")
    return getattr(getattr(torch.backends, owner), operation).fp32_precision


def weights(model) -> list:
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def results(folder) -> dict:
    """What the calls of the Python interface return, at two small models."""
    few_shot_model._load_cached.cache_clear()
    clusters = metacli.train(CLUSTERS, run_dir=folder / "clusters", quiet=True, threads=1).run
    strokes = metacli.train(STROKES, run_dir=folder / "strokes", quiet=True, threads=1).run
    metacli.train(None, "train.steps=4", resume=clusters, quiet=True, threads=1)
    pictures = np.random.default_rng(0).integers(0, 2, (4, 4, 4)).repeat(6, 1).repeat(6, 2).astype(np.uint8) * 255
    learner = metacli.load(strokes, orders=2).fit(pictures[:3], ["a", "b", "c"])
    before = learner.predict_proba(pictures)
    learner.partial_fit(pictures[3:], ["a"])
    tasks, model = metacli.build_tasks(STROKES), metacli.load_model(strokes)
    episode = tasks.batch("train", 0, 2)
    return {
        "weights": weights(metacli.load_model(clusters)) + weights(model) + weights(metacli.build_model(STROKES)),
        "answers": [before.tolist(), learner.predict_proba(pictures).tolist(), learner.predict(pictures).tolist()],
        "attended": learner.most_attended(pictures).tolist(),
        "tasks": [episode.x_train.tolist(), episode.y_train.tolist(), episode.x_test.tolist()],
        "scores": metacli.evaluate(clusters, n_tasks=5).values["loss"].tolist(),
        "scores of a model": metacli.evaluate(model, tasks=tasks, n_tasks=5).values["loss"].tolist(),
        "trace": metacli.trace(clusters).arrays["logits"].tolist(),
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return results(tmp_path_factory.mktemp("plain"))


def test_all_settings_together_change_no_result_and_stay(plain, tmp_path):
    with ExitStack() as stack:
        for session in SESSIONS.values():
            stack.enter_context(session())
        before = settings()
        found = results(tmp_path)
        assert settings() == before
    assert found == plain


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
def test_settings_change_no_result_and_stay(name, plain, tmp_path):
    with SESSIONS[name]():
        before = settings()
        found = results(tmp_path)
        assert settings() == before
    assert found == plain


def test_random_states_neither_matter_nor_move(plain, tmp_path):
    before = settings()["random"]
    for seed in (random.seed, torch.manual_seed, np.random.seed):
        seed(99)
    moved = settings()["random"]
    assert moved != before
    assert results(tmp_path) == plain
    assert settings()["random"] == moved


def test_settings_are_shared_by_threads(plain):
    """The last of two calls that overlap restores the settings, whichever began first."""
    entered, may_leave = threading.Event(), threading.Event()

    def call():
        with own_settings():
            entered.set()
            may_leave.wait(20)

    with changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64):
        with own_settings():
            other = threading.Thread(target=call)
            other.start()
            assert entered.wait(20)
            with own_settings():
                assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float32, "the other thread still computes"
        may_leave.set()
        other.join()
        assert torch.zeros(1).dtype == torch.float64


def test_double_models_are_evaluated_and_half_models_refused(tmp_path):
    tasks, model = metacli.build_tasks(STROKES), metacli.build_model(STROKES)
    single = metacli.evaluate(model, tasks=tasks, n_tasks=3).values["loss"]
    double = metacli.evaluate(model.double(), tasks=tasks, n_tasks=3).values["loss"]
    np.testing.assert_allclose(double, single, rtol=1e-4)
    assert metacli.trace(model, tasks=tasks).arrays["logits"].dtype == np.float32
    for dtype in (torch.float16, torch.bfloat16):
        for call in (metacli.evaluate, metacli.trace):
            with pytest.raises(metacli.MetacliError, match=r"has weights in b?float16, not in float32 or float64"):
                call(model.to(dtype), tasks=tasks)


@pytest.mark.parametrize("limit", [10, None])
def test_limits_of_pillow_change_no_picture(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 90).save(path)
    assert decode.read_image(path, "a.png").size == (64, 64)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(metacli.MetacliError, match="cannot read the image"):
        decode.read_image(path, "a.png")
    assert (limit, True) == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_a_picture_leaves_the_backend_of_matplotlib(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "pdf")
    with matplotlib.rc_context():
        matplotlib.use("svg")
        with figures.default_style():
            pass
        assert matplotlib.get_backend() == "svg"


def test_a_plugin_changes_no_result(tmp_path, cli, tiny_file):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\n")
    for run, words in (("r", []), ("s", ["--plugin", plugin])):
        done = cli("train", tiny_file, "--run-dir", run, "--threads", "1", *words)
        assert done.returncode == 0, done.stderr
    one, other = (weights(metacli.load_model(tmp_path / run)) for run in ("r", "s"))
    assert one == other


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no current folder")
def test_a_deleted_current_folder_is_named(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "argv", ["metacli", "models"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: the current folder no longer exists"


FORKED = """
import multiprocessing, random, sys
import numpy as np
state = random.getstate()
import metacli
learner = metacli.load("glyphs_mann")
assert random.getstate() == state, "the first import draws random numbers"
import torch
pictures = np.random.default_rng(0).integers(0, 2, (4, 16, 16)).repeat(4, 1).repeat(4, 2).astype(np.uint8) * 255
learner.fit(pictures, list("abcd"))
torch.set_num_threads(2)
torch.randn(600, 600) @ torch.randn(600, 600)
expected = learner.predict_proba(pictures)
def answer(queue):
    queue.put(learner.predict_proba(pictures))
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=answer, args=(queue,))
child.start()
try:
    np.testing.assert_allclose(queue.get(timeout=30), expected, atol=1e-5)
finally:
    child.kill()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_answers(tmp_path):
    """OpenMP of the parent has threads that the child lacks."""
    settings = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
