"""No command imports torch._dynamo or sympy, which take more than a second and serve only torch.compile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from metacli.training.optimizer import Adam, AdamW, RMSprop

REPORT = "print('imported:', [name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
COMMANDS = f"""
import sys
from metacli.cli import main
for words in sys.argv[1].split(";"):
    sys.argv = ["metacli", *words.split()]
    try:
        main.main()
    except SystemExit as end:
        assert not end.code, words
{REPORT}
"""
FORECASTS = f"""
import sys
import torch
from metacli.config import recipe as recipes
from metacli.training import memory_forecast
from test_memory import tasks_without_data
for path in recipes.recipes_folder().glob("*.yaml"):
    plan = recipes.load_recipe(str(path))
    memory_forecast.check_training(plan, tasks_without_data(plan), torch.device("cpu"), plan.train.batch)
{REPORT}
"""


def run(code: str, *arguments: str, folder: object) -> str:
    """The last line that a new interpreter prints."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_no_command_imports_the_compiler_of_torch(tmp_path):
    from PIL import Image, ImageDraw

    for name in ("a", "b"):
        picture = Image.new("L", (40, 40), 255)
        ImageDraw.Draw(picture).text((10, 10), name)
        (tmp_path / "support" / name).mkdir(parents=True)
        picture.save(tmp_path / "support" / name / "1.png")
    lines = [
        f"train {ROOT / 'recipes' / 'smoke.yaml'} train.steps=1 --run-dir run",
        "train --resume run train.steps=2",
        "train strokes_mann train.steps=1 train.eval_tasks=2 --run-dir mann",
        "eval -c run --tasks 2",
        "inspect-memory -c mann",
        "sample-tasks smoke",
        "predict --support support --query support/a",
    ]
    assert run(COMMANDS, ";".join(lines), folder=tmp_path) == "imported: []"


def test_no_memory_forecast_imports_the_compiler_of_torch(tmp_path):
    assert run(FORECASTS, folder=tmp_path) == "imported: []"


@pytest.mark.parametrize(
    ("ours", "reference"), [(Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW), (RMSprop, torch.optim.RMSprop)]
)
def test_an_eager_optimizer_updates_as_the_one_of_torch(ours, reference):
    start = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    optimizers = [
        kind([weight], 0.01, weight_decay=0.1) for kind, weight in zip((ours, reference), weights, strict=True)
    ]
    for _ in range(3):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            optimizer.zero_grad()
            (weight**3).sum().backward()
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
    assert torch.equal(*weights)
    first, second = (optimizer.state_dict() for optimizer in optimizers)
    assert first["param_groups"] == second["param_groups"]
    assert all(torch.equal(first["state"][0][key], second["state"][0][key]) for key in second["state"][0])


@pytest.mark.slow
def test_a_compilation_is_announced_once(cli, tmp_path):
    pytest.importorskip("numba")
    announced = "numba   compiles the fast loops"
    keys = ["train.steps=1", "train.eval_tasks=2", "train.batch=2", "--threads", "1", "--run-dir"]
    cold = {"NUMBA_CACHE_DIR": str(tmp_path / "cold")}
    first = cli("train", "strokes_lstm", *keys, "first", **cold)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count(announced) == 1
    assert announced not in cli("train", "strokes_lstm", *keys, "second", **cold).stderr
    assert announced in cli("eval", "-c", "first", "--tasks", 2, NUMBA_CACHE_DIR=str(tmp_path / "eval")).stderr
    quiet = cli("train", "strokes_lstm", *keys, "third", "--quiet", NUMBA_CACHE_DIR=str(tmp_path / "quiet"))
    assert (quiet.returncode, quiet.stderr) == (0, "")
