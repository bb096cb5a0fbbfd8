"""What others publish, where it is installed: the packages `dnc` and `easyfsl`. None is needed for the benchmark."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from metacli.episode import Episode
from tests.bench.build import Learner
from tests.bench.case import Side


def fetch(module: str) -> tuple[Any, str]:
    """The module, or None and why it cannot be had."""
    try:
        return importlib.import_module(module), ""
    except ModuleNotFoundError as e:
        name = module.partition(".")[0]
        return None, "not installed" if e.name == name else f"{name} needs {e.name}, not installed"
    except Exception as e:  # a package that breaks on import is no fault of the benchmark
        return None, f"does not load: {e}"


def dnc_step(learner: Learner) -> Side:
    """A step of the package's differentiable neural computer, of our NTM's sizes, on our episode.

    Another model: besides content it addresses by usage and by links between locations, which costs more per step.
    It stands here as what one gets who takes a memory network from the package index, not as the same work.
    """
    package, missing = fetch("dnc")
    if package is None:
        return Side(missing=missing)

    class Answers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            c, spec = learner.recipe.model, learner.tasks.spec
            sizes = {"nr_cells": c.locations, "cell_size": c.width, "read_heads": c.read_heads}
            self.dnc = package.DNC(spec.x_shape[0], c.hidden, num_hidden_layers=c.layers, gpu_id=-1, **sizes)

        def forward(self, episode: Episode) -> Tensor:
            inputs = torch.cat([episode.x_train, episode.x_test], 1)
            outputs, _ = self.dnc(inputs, (None, None, None), reset_experience=True)
            return outputs[:, episode.x_train.shape[1] :, : learner.tasks.spec.out_size]

    return Side(learner.beside(Answers()))


class Labelled(torch.utils.data.Dataset):
    """The training images as float tensors in memory, which spares the package the conversion that ours pays."""

    def __init__(self, tasks: Any):
        images = torch.stack([tasks.image_set.of(c) for c in tasks.pools["train"].tolist()]).float() / 255
        self.labels = torch.arange(len(images)).repeat_interleave(images.shape[1]).tolist()
        self.images = images.flatten(0, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], self.labels[i]

    def get_labels(self) -> list[int]:
        """The class of every image."""
        return self.labels


def easyfsl_sampler(tasks: Any, batch: int) -> Side:
    """Episodes from the package's TaskSampler through a DataLoader in this process, without rotation or shift."""
    package, missing = fetch("easyfsl.samplers")
    if package is None:
        return Side(missing=missing)
    c, data = tasks.config, Labelled(tasks)
    sampler = _with_old_base(package.TaskSampler)(data, n_way=c.ways, n_shot=c.shots, n_query=c.queries, n_tasks=10**9)
    episodes = iter(DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn))
    return Side(lambda: [next(episodes) for _ in range(batch)], batch)


def _with_old_base(sampler: Any) -> Any:
    """The same sampler over a base that still takes `data_source`, as torch's own did when the package was written."""

    class OldBase(torch.utils.data.Sampler):
        def __init__(self, data_source: Any = None):
            super().__init__()

    return type(sampler.__name__, (sampler, OldBase), {})
