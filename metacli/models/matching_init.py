"""Initial weights that make attention start as a matching network.

A query reads the labels of the items that resemble it, and answers with what it read (Vinyals et al. 2016,
equation 1). In the first attention, queries equal keys, which are random directions of the features. All other weights
are small.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from metacli.episode import Spec

_COSINE_STRENGTH = 10.0  # a cosine of 1 adds this to an attention score
_LABEL_BONUS = 5.0  # a labelled item gets this added to its score, so that a query does not attend to itself
_EMBEDDED_LABEL_BONUS = 10.0  # the same for embedded labels
_LABEL_SCALE = 4.0  # size of a label relative to features of size 1
_OUTPUT_SCALE = 2.0  # weight of the label that was read in the logits
_RESIDUAL_SCALE = 0.1  # factor on all other residual contributions


@torch.no_grad()
def init_transformer_by_content(embed: nn.Linear, blocks: nn.ModuleList, output: nn.Linear, spec: Spec) -> None:
    """Changes a Transformer's weights in place, so that it starts as a matching network.

    Features and labels get separate dimensions. Every head of the first layer attends by content. The result is added
    to the label dimensions of a query, and the output layer reads it there.

    A head finds labelled items by the sum of their label dimensions. The layer normalisation before it subtracts the
    mean of all dimensions, so this sum also depends on the features. For wide labels it depends on them so much that a
    query attends to itself. With embedded labels, the initial features therefore have mean 0. Many one-hot labels would
    need this too. They do without, because the stated figures of their recipes come from models that began without it.

    Args:
        embed: (features + labels) to width.
        blocks: of `metacli.models.transformer.Block`.
        output: width to logits.
        spec: of the tasks. Y is at most the width of a head. The entries of a label sum to 1.
    """
    layers: list[Any] = list(blocks)
    first, labels = layers[0], spec.y_size
    width = embed.out_features
    head_size = width // first.heads
    feature_size = width - labels  # features come first, then labels
    embed.weight[:feature_size, -labels:] = 0
    embed.weight[feature_size:, :-labels] = 0
    embed.weight[feature_size:, -labels:] = _LABEL_SCALE * torch.eye(labels)
    embed.bias[feature_size:] = 0
    label_bonus = _LABEL_BONUS
    if spec.random_labels:
        label_bonus = _EMBEDDED_LABEL_BONUS
        for parameter in (embed.weight[:feature_size], embed.bias[:feature_size]):
            parameter -= parameter.mean(0)
    projection, bias = (
        first.project.weight.unflatten(0, (3, first.heads, head_size)),
        first.project.bias.view(3, -1, head_size),
    )
    projection.zero_()
    bias.zero_()
    for head in range(first.heads):
        projection[:2, head, :-1, :feature_size] = _random_directions(head_size, feature_size)
        bias[0, head, -1] = math.sqrt(head_size) * label_bonus / _LABEL_SCALE
        projection[1, head, -1, feature_size:] = 1
        projection[2, head, :labels, feature_size:] = torch.eye(labels)
        first.merge.weight[feature_size:, head * head_size : head * head_size + labels] = (
            torch.eye(labels) / first.heads
        )
    first.merge.weight[:feature_size] *= _RESIDUAL_SCALE
    first.merge.bias.zero_()
    for block in layers:
        block.network[-1].weight *= _RESIDUAL_SCALE
        block.network[-1].bias.zero_()
        if block is not first:
            block.merge.weight *= _RESIDUAL_SCALE
            block.merge.bias.zero_()
    if output.out_features == labels:
        output.weight[:, feature_size:] = _OUTPUT_SCALE * torch.eye(labels)


@torch.no_grad()
def init_snail_by_content(attention: nn.Module, output: nn.Linear, label_size: int) -> None:
    """Changes SNAIL's weights in place: its first attention block attends by content, and the output uses its read.

    Args:
        attention: the `metacli.models.layers.snail_blocks.AttentionBlock`, on items [features, label].
        output: maps all features to logits; the first features are the items and the read of `attention`.
        label_size: Y, at most the width of a value. The entries of a label sum to 1.
    """
    query, key, value = (getattr(attention, name) for name in ("query", "key", "value"))
    feature_size, key_size = query.in_features - label_size, query.out_features
    for layer in (query, key, value):
        layer.weight.zero_()
        layer.bias.zero_()
    query.weight[:-1, :feature_size] = key.weight[:-1, :feature_size] = _random_directions(key_size, feature_size)
    query.bias[-1] = math.sqrt(key_size) * _LABEL_BONUS
    key.weight[-1, feature_size:] = 1
    value.weight[:label_size, feature_size:] = torch.eye(label_size)
    output.weight *= _RESIDUAL_SCALE
    if output.out_features == label_size:
        output.weight[:, query.in_features : query.in_features + label_size] = (
            _LABEL_SCALE * _OUTPUT_SCALE * torch.eye(label_size)
        )


def _random_directions(key_size: int, feature_size: int) -> torch.Tensor:
    """Returns (key_size - 1, feature_size) random orthogonal directions.

    Their length gives features of variance 1 a score of _COSINE_STRENGTH at a cosine of 1.
    """
    directions = torch.empty(key_size - 1, feature_size)
    nn.init.orthogonal_(directions)
    return math.sqrt(_COSINE_STRENGTH / math.sqrt(key_size)) * directions
