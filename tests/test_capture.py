"""Recorded passes: what of them runs on a CPU. test_cuda has the rest."""

from __future__ import annotations

import pytest
import torch

from metacli.config.recipe import load
from metacli.registry import MODELS, TASKS, build
from metacli.training.capture import MULTIPLE, Captured, padded


def made(name):
    recipe = load(name)
    torch.manual_seed(0)
    tasks = build(TASKS, recipe.task, 0)
    return tasks, build(MODELS, recipe.model, tasks.spec).eval()


@pytest.mark.parametrize("name", ["copy_ntm", "repeat_copy_lstm", "strokes_snail", "strokes_stream_mann"])
def test_padded_and_taken_apart_an_episode_gets_the_same_answers(name):
    tasks, model = made(name)
    recorded = []

    def record(module, tensors):
        assert all(t.numel() for t in tensors)
        recorded.append([t.shape for t in tensors])
        return module

    captured = Captured(model, record)
    for first in (0, 4, 8):
        episode = tasks.batch("test", first, 4)
        with torch.no_grad():
            torch.testing.assert_close(captured(episode), model(episode))
    assert len({tuple(shapes) for shapes in recorded}) == len(recorded) <= 3


def test_shapes_of_sequences_are_few():
    tasks, _ = made("copy_ntm")
    shapes = {padded(tasks.batch("train", 2 * i, 2)).x_train.shape[1] for i in range(50)}
    assert shapes <= {MULTIPLE, 2 * MULTIPLE, 3 * MULTIPLE}
    episode = tasks.batch("train", 0, 2)
    whole = padded(episode)
    assert whole.mask_train.sum() == episode.mask_train.sum()
    assert not whole.x_train[:, episode.x_train.shape[1] :].any()
