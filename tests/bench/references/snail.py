"""SNAIL in the paper's own order (Mishra et al. 2018): all of [D_train, query], once for each query."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.episode import Episode
from tests.bench.references.encoder import PlainEncoder


class DenseBlock(nn.Module):
    """Two causal convolutions, kernel 2, one to gate the other; the result is appended (figure 2a)."""

    def __init__(self, source: nn.Module):
        super().__init__()
        width, filters = source.now.in_features, source.now.out_features // 2
        self.signal, self.gate = (nn.Conv1d(width, filters, 2, dilation=source.dilation) for _ in range(2))
        with torch.no_grad():
            for i, conv in enumerate((self.signal, self.gate)):
                own = slice(i * filters, (i + 1) * filters)
                conv.weight.copy_(torch.stack([source.past.weight[own], source.now.weight[own]], -1))
                conv.bias.copy_(source.now.bias[own])

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, D) to (B, T, D + filters)."""
        padded = F.pad(x.mT, (self.signal.dilation[0], 0))
        return torch.cat([x, (torch.tanh(self.signal(padded)) * torch.sigmoid(self.gate(padded))).mT], -1)


class AttentionBlock(nn.Module):
    """One causal soft attention over the sequence, the read appended (figure 2b)."""

    def __init__(self, source: nn.Module):
        super().__init__()
        for name in ("query", "key", "value"):
            layer = getattr(source, name)
            setattr(self, name, nn.Linear(layer.in_features, layer.out_features))
        self.load_state_dict(source.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, D) to (B, T, D + values)."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = query @ key.mT / math.sqrt(key.shape[-1])
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return torch.cat([x, torch.softmax(scores.masked_fill(future, -math.inf), -1) @ value], -1)


class PlainSNAIL(nn.Module):
    """Attention blocks with a TC block between each two, the answer is read at the last position."""

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainSNAIL:
        """Builds it with the weights of our SNAIL."""
        plain = cls()
        plain.encoder = PlainEncoder.from_model(model)
        blocks: list[nn.Module] = [AttentionBlock(model.attentions[0])]
        for convolutions, attention in zip(model.convolutions, model.attentions[1:], strict=True):
            blocks += [DenseBlock(block) for block in convolutions.blocks]
            blocks.append(AttentionBlock(attention))
        plain.blocks = nn.Sequential(*blocks)
        plain.output = nn.Linear(model.output.in_features, model.output.out_features)
        plain.output.load_state_dict(model.output.state_dict())
        return plain

    def forward(self, episode: Episode) -> Tensor:
        """Returns logits (B, Q, O) of independent queries."""
        batch, count = episode.x_test.shape[:2]
        seen = episode.x_train.repeat_interleave(count, 0)  # (B Q, S, ...)
        labels = F.pad(episode.y_train.repeat_interleave(count, 0), (0, 0, 0, 1))  # (B Q, S + 1, Y), 0 for the query
        items = self.encoder(torch.cat([seen, episode.x_test.flatten(0, 1).unsqueeze(1)], 1))
        answers = self.blocks(torch.cat([items, labels.to(items.dtype)], -1))
        return self.output(answers[:, -1]).unflatten(0, (batch, count))
