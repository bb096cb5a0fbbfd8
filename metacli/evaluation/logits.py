"""The logits of a model on tasks with as many ways as it was trained on, or fewer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from metacli.episode import Episode


def compute_logits(model: Any, episode: Episode) -> Tensor:
    """Logits (B, Q, O) of an episode with as many ways as the model was trained on, or fewer."""
    return crop_logits(model, model(pad_labels(model, episode)), episode)


def pad_labels(model: Any, episode: Episode) -> Episode:
    """Pad the labels of an episode to the width that the model was trained on."""
    spare = model.spec.y_size - episode.y_train.shape[-1]
    late = None if episode.y_previous is None else F.pad(episode.y_previous, (0, spare))
    return replace(episode, y_train=F.pad(episode.y_train, (0, spare)), y_previous=late)


def crop_logits(model: Any, logits: Tensor, episode: Episode) -> Tensor:
    """The logits (B, Q, O) of the labels that the episode has."""
    return logits[..., : model.spec.out_size - model.spec.y_size + episode.y_train.shape[-1]]
