"""What several processes compute, against what one does, in float64: torchrun runs it for test_ranks."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

import metacli
from metacli.compute import processes
from metacli.config.recipe import recipe_from_dict
from metacli.evaluation.evaluate import evaluate
from metacli.models.distributed import check_equal_weights
from metacli.training import data_parallel
from metacli.training.loop import train_step
from metacli.training.optimizer import clip_gradients, set_learning_rate
from metacli.training.state import TrainState

CPU = torch.device("cpu")
STEPS = 3
PICTURES = {"name": "strokes", "classes": 12, "val_classes": 6, "test_classes": 6, "ways": 3, "queries": 2}
CONV = {"kind": "conv", "channels": 4, "size": 8, "normalise": True, "precision": "float32"}
PART = {"pools": 2, "dropout": 0.3}
BITS = {"name": "copy", "width": 3, "max_length": 9}
LSTM, MANN = {"name": "lstm", "hidden": 8, "layers": 1}, {"name": "mann", "hidden": 8, "locations": 6, "width": 6}
TRANSFORMER = {"name": "transformer", "width": 8, "layers": 2, "heads": 2, "dropout": 0.3}
OWN = {"kind": "own", "precision": "float32"}
PADDED = {"encoder": {"kind": "flat", "normalise": True}}  # padding is among what it normalises
CASES = {  # name: task, model, train, relative tolerance; the loss of bits is always computed in float32
    "bits": (BITS, LSTM, {"loss": "sum"}, 1e-5),
    "bits, normalised, dropped": (BITS, TRANSFORMER | PADDED, {}, 1e-5),
    "blocks that pool first": (PICTURES | {"size": 20}, MANN | {"encoder": CONV}, {"clip_norm": 0.05}, 1e-9),
    "blocks that do not pool": (PICTURES | {"size": 6}, MANN | {"encoder": CONV}, {}, 1e-9),
    "blocks that pool in part, dropped": (PICTURES | {"size": 12}, MANN | {"encoder": CONV | PART}, {}, 1e-9),
    "one's own encoder": (PICTURES | {"size": 6}, LSTM | {"encoder": OWN}, {}, 1e-9),
}


@metacli.register("own")
class Own(nn.Sequential):
    """A network with layers of PyTorch's that look at the batch."""

    class Config(metacli.EncoderConfig):
        """No key of its own."""

    def __init__(self, config, x_shape):
        conv = nn.Conv2d(x_shape[0], 4, 3)
        super().__init__(conv, nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten())


def doubled(episode):
    tensors = {f.name: getattr(episode, f.name) for f in fields(episode)}
    return replace(episode, **{k: v.double() for k, v in tensors.items() if v is not None and v.is_floating_point()})


def compare(name: str, everyone: processes.Processes) -> None:
    task, model, train, tolerance = CASES[name]
    train = {"steps": 9, "batch": 7, "optimizer": "rmsprop-graves", "scan": "plain"} | train
    train = {k: v for k, v in train.items() if k != "scan" or model["name"] == "mann"}
    recipe = recipe_from_dict({"name": "x", "seed": 2, "task": task, "model": model, "train": train}, name)
    alone = TrainState.build(recipe, CPU, threads=1)
    together = TrainState.build(recipe, CPU, everyone, threads=1)
    own = everyone.share(7)
    assert 1 <= len(own) <= 2, "7 tasks are divided unevenly"
    for step in range(STEPS):
        found = []
        for parts, some in ((alone, range(7)), (together, own)):
            torch.manual_seed(step)
            episode = doubled(parts.tasks.batch("train", 7 * step + some.start, len(some)))
            found.append(train_step(parts, data_parallel.align_batch(parts, episode), step))
        (loss, score, norm), one = found[1], found[0]
        torch.testing.assert_close((loss, norm), (one.loss, one.norm), rtol=tolerance, atol=tolerance)
        assert abs(score - one.score) < 1e-6, "scores are computed in float32"
    one, many = alone.model.state_dict(), together.model.state_dict()
    assert one.keys() == many.keys()
    torch.testing.assert_close(many, one, rtol=tolerance, atol=tolerance)
    assert any(k.endswith("running_var") for k in one) == ("encoder" in model)
    check_equal_weights(everyone, together.model)

    floats = patch.object(type(alone.tasks), "batch", lambda self, *a, of=alone.tasks.batch: doubled(of(*a)))
    with floats:
        whole, parts = (
            evaluate(alone.model, alone.tasks, "val", 60, CPU, processes=r)
            for r in (processes.SINGLE_PROCESS, everyone)
        )
    assert whole.classes == parts.classes
    for key, value in {**whole.values, "index": whole.index}.items():
        np.testing.assert_array_equal(parts.values.get(key, parts.index), value)


def compare_local_statistics(name: str, everyone: processes.Processes) -> None:
    """With `train.batch_norm: local`, a step is the sum of the shares' steps, each share normalised by itself."""
    task, model, train, tolerance = CASES[name]
    train = {"steps": 9, "batch": 7, "optimizer": "rmsprop-graves"} | train
    recipe = recipe_from_dict(
        {"name": "x", "seed": 2, "task": task, "model": model, "train": train | {"batch_norm": "local"}}, name
    )
    alone = TrainState.build(recipe, CPU, threads=1)
    together = TrainState.build(recipe, CPU, everyone, threads=1)
    starts = [share.start for share in everyone.gather(everyone.share(7))] + [7]
    shares = [(start, end - start) for start, end in pairwise(starts)]
    statistics = [buffer for buffer in alone.model.buffers() if buffer.is_floating_point()]
    for step in range(STEPS):
        start, count = shares[everyone.rank]
        episode = doubled(together.tasks.batch("train", 7 * step + start, count))
        train_step(together, data_parallel.align_batch(together, episode), step)

        before, totals = [s.clone() for s in statistics], [torch.zeros_like(s) for s in statistics]
        set_learning_rate(alone.optimizer, recipe.train.learning_rate(step))
        alone.model.train()
        alone.optimizer.zero_grad()
        for start, count in shares:
            for statistic, value in zip(statistics, before, strict=True):
                statistic.copy_(value)
            episode = doubled(alone.tasks.batch("train", 7 * step + start, count))
            (alone.tasks.loss(alone.model(episode), episode) * count / 7).backward()
            for total, statistic in zip(totals, statistics, strict=True):
                total += statistic * count / 7
        for statistic, total in zip(statistics, totals, strict=True):
            statistic.copy_(total)
        clip_gradients(alone.model, recipe.train)
        alone.optimizer.step()
    one, many = (
        {k: v for k, v in parts.model.state_dict().items() if v.is_floating_point()} for parts in (alone, together)
    )
    torch.testing.assert_close(many, one, rtol=tolerance, atol=tolerance)
    check_equal_weights(everyone, together.model)


def broadcast(everyone: processes.Processes, layer: nn.Module) -> None:
    """Broadcast the state of a layer alone."""
    state = TrainState.build(recipe_from_dict({"task": BITS, "model": LSTM}, "x"), CPU, everyone, threads=1)
    replace(state, model=layer, optimizer=torch.optim.Adam(layer.parameters())).broadcast_from_first()


def differ(everyone: processes.Processes) -> None:
    """Weights that are no longer equal are found; so is the first process's state told to all."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.bias += everyone.rank == 2
    with pytest.raises(
        metacli.MetacliError,
        match="have different weights" if everyone.is_first else "reported by another",
    ):
        check_equal_weights(everyone, layer)
    broadcast(everyone, layer)
    check_equal_weights(everyone, layer)


def main() -> None:
    torch.set_default_dtype(torch.float64)
    everyone, _, reason = processes.join("cpu")
    assert reason.endswith("in 4 processes")
    assert sorted(i for own in everyone.gather(list(everyone.share(7))) for i in own) == list(range(7))
    for name in CASES:
        compare(name, everyone)
        if everyone.is_first:
            print(f"equal: {name}", flush=True)
    compare_local_statistics("blocks that pool first", everyone)
    differ(everyone)
    everyone.leave()


if __name__ == "__main__":
    main()
