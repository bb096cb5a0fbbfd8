"""The packages `dnc` and `easyfsl`, which the extra `bench` installs."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from metacli.episode import Episode
from metacli.errors import MetacliError
from tests.bench.build import Learner
from tests.bench.case import Implementation

DNC, EASYFSL = "dnc", "easyfsl"  # the names of the packages and of their rows


def load(package: str, module: str = "") -> Any:
    """Imports a package, or a module of it.

    Raises:
        MetacliError: the package is not installed.
    """
    try:
        return importlib.import_module(module or package)
    except ModuleNotFoundError as error:
        raise MetacliError(
            f"the package {error.name} is not installed", "pip install -c constraints.txt -e '.[bench]'"
        ) from None


def dnc_step(learner: Learner) -> dict[str, Implementation]:
    """Returns a training step of the package's DNC, with the sizes of our DNC, on our episode."""
    package = load(DNC)

    class PackageDNC(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            c, spec = learner.recipe.model, learner.tasks.spec
            sizes = {"nr_cells": c.locations, "cell_size": c.width, "read_heads": c.read_heads}
            self.dnc = package.DNC(spec.x_shape[0], c.hidden, num_hidden_layers=c.layers, gpu_id=-1, **sizes)

        def forward(self, episode: Episode) -> Tensor:
            inputs = torch.cat([episode.x_train, episode.x_test], 1)
            outputs, _ = self.dnc(inputs, (None, None, None), reset_experience=True)
            return outputs[:, episode.x_train.shape[1] :, : learner.tasks.spec.out_size]

    return {DNC: Implementation(learner.reference_step(PackageDNC()))}


class LabelledImages(torch.utils.data.Dataset):
    """The training images as float tensors in memory, which saves the package the conversion that metacli does."""

    def __init__(self, tasks: Any):
        images = torch.stack([tasks.image_set.of(c) for c in tasks.pools["train"].tolist()]).float() / 255
        self.labels = torch.arange(len(images)).repeat_interleave(images.shape[1]).tolist()
        self.images = images.flatten(0, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.images[i], self.labels[i]

    def get_labels(self) -> list[int]:
        """Returns the class of every image."""
        return self.labels


def easyfsl_sampler(tasks: Any, batch: int) -> dict[str, Implementation]:
    """Returns episodes from the package's TaskSampler through a DataLoader, without rotation and shift."""
    c, data = tasks.config, LabelledImages(tasks)
    sampler = _task_sampler()(data, n_way=c.ways, n_shot=c.shots, n_query=c.queries, n_tasks=10**9)
    episodes = iter(DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn))
    return {EASYFSL: Implementation(lambda: [next(episodes) for _ in range(batch)], batch)}


def _task_sampler() -> Any:
    """Returns the package's TaskSampler, adapted to the installed torch.

    Its module imports the package's data sets, of which it needs one name for an annotation; they need a torchvision
    that fits the build of torch, so an empty module replaces them. Its base class takes `data_source`, as torch's
    once did.
    """
    load(EASYFSL)
    data_sets = ModuleType("easyfsl.datasets")
    data_sets.FewShotDataset = torch.utils.data.Dataset  # type: ignore[attr-defined]
    sys.modules.setdefault(data_sets.__name__, data_sets)
    sampler = load(EASYFSL, "easyfsl.samplers").TaskSampler

    class OldSampler(torch.utils.data.Sampler):
        def __init__(self, data_source: Any = None):
            super().__init__()

    return type(sampler.__name__, (sampler, OldSampler), {})
