"""Attention that begins as a matching network: what training must find anyway, given from the first step.

A question reads the labels of the items that resemble it, and answers with what it read (Vinyals et al. 2016,
equation 1). The queries of a first look equal its keys, random directions of the features; all else starts small.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

_STRENGTH = 10.0  # of the first look: what a cosine of 1 adds to a score
_LABELLED = 5.0  # what an item's having a label adds, so that a question does not look at itself
_LABEL = 4.0  # size of a label beside features of size 1
_ANSWER = 2.0  # what the logits make of the label that was read
_REST = 0.1  # what is left at the start of what other parts add


@torch.no_grad()
def transformer_by_content(embed: nn.Linear, blocks: nn.ModuleList, output: nn.Linear, label_size: int) -> None:
    """Change a Transformer's weights in place.

    Features and labels go into dimensions of their own. The first layer makes the look, in every head; the result is
    added where a question's own label would stand, and the output reads it from there.

    Args:
        embed: (features + labels) to width.
        blocks: of `metacli.models.transformer.Block`.
        output: width to logits.
        label_size: Y; at most the width of a head less one.
    """
    layers: list[Any] = list(blocks)
    first, rest = layers[0], label_size
    width = embed.out_features
    size = width // first.heads
    free = width - rest  # dimensions of features, before those of labels
    embed.weight[:free, -rest:] = 0
    embed.weight[free:, :-rest] = 0
    embed.weight[free:, -rest:] = _LABEL * torch.eye(rest)
    embed.bias[free:] = 0
    projection, bias = first.project.weight.unflatten(0, (3, first.heads, size)), first.project.bias.view(3, -1, size)
    projection.zero_()
    bias.zero_()
    for head in range(first.heads):
        projection[:2, head, :-1, :free] = _directions(size, free)
        bias[0, head, -1] = math.sqrt(size) * _LABELLED / _LABEL
        projection[1, head, -1, free:] = 1
        projection[2, head, :rest, free:] = torch.eye(rest)
        first.merge.weight[free:, head * size : head * size + rest] = torch.eye(rest) / first.heads
    first.merge.weight[:free] *= _REST
    first.merge.bias.zero_()
    for block in layers:
        block.network[-1].weight *= _REST
        block.network[-1].bias.zero_()
        if block is not first:
            block.merge.weight *= _REST
            block.merge.bias.zero_()
    if output.out_features == label_size:
        output.weight[:, free:] = _ANSWER * torch.eye(rest)


@torch.no_grad()
def snail_by_content(first: nn.Module, output: nn.Linear, label_size: int) -> None:
    """Change SNAIL's weights in place: its first attention block makes the look, the output takes what it read.

    Args:
        first: the `metacli.models.layers.causal.AttentionBlock`, on items [features, label].
        output: everything that the blocks append, beginning with the items and what `first` read, to logits.
        label_size: Y, the width of a label; at most that of a value.
    """
    query, key, value = (getattr(first, name) for name in ("query", "key", "value"))
    free, size = query.in_features - label_size, query.out_features
    for layer in (query, key, value):
        layer.weight.zero_()
        layer.bias.zero_()
    query.weight[:-1, :free] = key.weight[:-1, :free] = _directions(size, free)
    query.bias[-1] = math.sqrt(size) * _LABELLED
    key.weight[-1, free:] = 1
    value.weight[:label_size, free:] = torch.eye(label_size)
    output.weight *= _REST
    if output.out_features == label_size:
        output.weight[:, query.in_features : query.in_features + label_size] = _LABEL * _ANSWER * torch.eye(label_size)


def _directions(size: int, free: int) -> torch.Tensor:
    """(size - 1, free) random directions, as long as makes features of variance 1 score _STRENGTH at a cosine of 1."""
    directions = torch.empty(size - 1, free)
    nn.init.orthogonal_(directions)
    return math.sqrt(_STRENGTH / math.sqrt(size)) * directions
