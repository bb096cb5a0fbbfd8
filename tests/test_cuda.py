"""What only a GPU can show: the same numbers as the CPU's, and a step that never waits for the GPU."""

from __future__ import annotations

import copy

import pytest
import torch

from metacli.config.recipe import load_recipe
from metacli.registry import MODELS, TASKS, build
from metacli.runs.directory import RunDirectory
from metacli.training.loop import train
from metacli.training.optimizer import clip_gradients, make_optimizer
from metacli.training.progress import Progress
from metacli.training.run import RunPlan

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")

GPU = torch.device("cuda")
RECIPES = ["strokes_lstm", "strokes_ntm", "strokes_mann", "strokes_snail", "strokes_stream_mann", "copy_ntm"]


def made(name, *keys):
    recipe = load_recipe(name, ["train.batch=8", "model.encoder.precision=float32", *keys])
    torch.manual_seed(0)
    tasks = build(TASKS, recipe.task, 0)
    return recipe, tasks, build(MODELS, recipe.model, tasks.spec)


@pytest.mark.parametrize("name", RECIPES)
def test_values_and_gradients_are_those_of_the_cpu(name):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    _, tasks, model = made(name)
    episode, twin = tasks.batch("train", 0, 8), copy.deepcopy(model).to(GPU)
    model.double(), twin.double()
    found = {}
    for device, net in (("cpu", model), ("cuda", twin)):
        here = episode.to(device)
        for field in ("x_train", "x_test", "y_train"):
            object.__setattr__(here, field, getattr(here, field).double())
        loss = tasks.loss(net(here), here)
        found[device] = [loss, *torch.autograd.grad(loss, net.parameters())]
    for on_cpu, on_gpu in zip(*found.values(), strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_step_does_not_wait_for_the_gpu(name):
    recipe, tasks, model = made(name)
    model.to(GPU).train()
    optimizer = make_optimizer(model, recipe.train)

    def step():
        loss = tasks.loss(model(episode), episode)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_gradients(model, recipe.train)
        optimizer.step()

    episode = tasks.batch("train", 0, 8).to(GPU)
    step()  # the first one sets up libraries
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode("error")
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_run_on_the_gpu(tmp_path):
    recipe = load_recipe("smoke", ["train.steps=20", "train.eval_every=10"])
    train(recipe, RunPlan(tmp_path / "run"), GPU, Progress(quiet=True))
    assert RunDirectory(tmp_path / "run").read_metrics()[-1]["step"] == 20
