"""A model's output on tasks of as many ways as it was trained on, or fewer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metacli.episode import Episode


def compute_output(model: Any, episode: Episode) -> Tensor:
    """Returns the model's output (B, Q, O); see `Tasks.logits`."""
    return model(pad_labels(model, episode))


def pad_labels(model: Any, episode: Episode) -> Episode:
    """Returns an episode with its labels padded to the width that the model was trained on."""
    spare, pad = model.spec.y_size - episode.y_train.shape[-1], torch.nn.functional.pad
    late = None if episode.y_previous is None else pad(episode.y_previous, (0, spare))
    return replace(episode, y_train=pad(episode.y_train, (0, spare)), y_previous=late)
