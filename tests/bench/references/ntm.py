"""The Neural Turing Machine, equation by equation (Graves et al. 2014, sections 3.1 to 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.episode import Episode
from tests.bench.references.encoder import PlainEncoder, encode_sequence, find_modules
from tests.bench.references.similarity import torch_cosine


class Head(nn.Module):
    """One layer that emits the parameters of one head; those of a write head include what to erase and to add."""

    def __init__(self, hidden: int, width: int, offsets: int, writes: bool):
        super().__init__()
        self.sizes = [width, 1, 1, 1, offsets] + [width, width] * writes
        self.steer = nn.Linear(hidden, sum(self.sizes))

    def forward(self, hidden: Tensor, memory: Tensor, previous: Tensor, cosine) -> tuple[Tensor, list[Tensor]]:
        """Returns the weighting (B, L), and the parameters of writing."""
        numbers = self.steer(hidden).clamp(-20, 20).split(self.sizes, -1)
        key, strength, sharpness, gate, shift, *change = numbers
        strength, sharpness = F.softplus(strength), 1 + F.softplus(sharpness)
        gate, shift = torch.sigmoid(gate), torch.softmax(shift, -1)

        content = torch.softmax(strength * cosine(key.unsqueeze(1), memory), -1)  # eq. 5
        weights = gate * content + (1 - gate) * previous  # eq. 7
        reach = shift.shape[-1] // 2
        moved = [weights.roll(j, -1) * shift[:, j + reach, None] for j in range(-reach, reach + 1)]
        weights = torch.stack(moved).sum(0)  # eq. 8
        weights = (weights + 1e-12) ** sharpness
        return weights / weights.sum(-1, keepdim=True), change  # eq. 9


class PlainNTM(nn.Module):
    """An LSTM controller, read and write heads, a memory (B, L, W).

    Attributes:
        cosine: one of `similarity`.
    """

    cosine = staticmethod(torch_cosine)

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainNTM:
        """Builds it with the weights of our NTM (LSTM controller of one layer)."""
        c, plain = model.config, cls()
        plain.config, plain.encoder = c, PlainEncoder.from_model(model)
        (cell,), (heads, output) = find_modules(model, nn.LSTMCell), find_modules(model, nn.Linear)
        plain.cell = nn.LSTMCell(cell.input_size, cell.hidden_size)
        plain.output = nn.Linear(output.in_features, output.out_features)
        plain.cell.load_state_dict(cell.state_dict())
        plain.output.load_state_dict(output.state_dict())
        offsets = 2 * c.shift_range + 1
        plain.readers = nn.ModuleList(Head(c.hidden, c.width, offsets, False) for _ in range(c.read_heads))
        plain.writers = nn.ModuleList(Head(c.hidden, c.width, offsets, True) for _ in range(c.write_heads))
        plain.copy_heads(heads)
        return plain

    @torch.no_grad()
    def copy_heads(self, heads: nn.Linear) -> None:
        """Copies the weights of our layer for all heads, which is ordered by parameter, to one layer for each head."""
        c = self.config
        count = c.read_heads + c.write_heads
        shares = [c.width, 2, 1, 2 * c.shift_range + 1]  # of each head: key; beta and gamma; g; s
        for name, source in heads.named_parameters():
            *common, change = source.split([count * share for share in shares] + [c.write_heads * 2 * c.width])
            rows = [part.unflatten(0, (count, -1)) for part in common]
            for i, head in enumerate([*self.readers, *self.writers]):
                own = [part[i] for part in rows]
                if i >= c.read_heads:
                    own.append(change.unflatten(0, (c.write_heads, -1))[i - c.read_heads])
                head.steer.get_parameter(name).copy_(torch.cat(own))

    def forward(self, episode: Episode) -> Tensor:
        """Returns logits (B, Q, O)."""
        c, inputs = self.config, encode_sequence(self.encoder, episode)
        batch = inputs.shape[0]
        memory = inputs.new_full((batch, c.locations, c.width), 1e-6)
        first = F.one_hot(torch.zeros(batch, dtype=torch.long), c.locations).to(inputs.dtype)
        reading, writing = [first] * c.read_heads, [first] * c.write_heads
        reads = [read(memory, w) for w in reading]
        h = s = inputs.new_zeros(batch, c.hidden)
        answers = []
        for t in range(inputs.shape[1]):
            h, s = self.cell(torch.cat([inputs[:, t], *reads], -1), (h, s))
            reading = [head(h, memory, w, self.cosine)[0] for head, w in zip(self.readers, reading, strict=True)]
            steered = [head(h, memory, w, self.cosine) for head, w in zip(self.writers, writing, strict=True)]
            writing = [w for w, _ in steered]
            for w, (erase, _) in steered:
                memory = memory * (1 - w.unsqueeze(2) * torch.sigmoid(erase).unsqueeze(1))  # eq. 3
            for w, (_, add) in steered:
                memory = memory + w.unsqueeze(2) * torch.tanh(add).unsqueeze(1)  # eq. 4
            reads = [read(memory, w) for w in reading]
            if t >= episode.x_train.shape[1]:
                answers.append(self.output(torch.cat([h, *reads], -1)))
        return torch.stack(answers, 1)


def read(memory: Tensor, weights: Tensor) -> Tensor:
    """r = sum_i w(i) M(i)  (eq. 2): (B, W)."""
    return (weights.unsqueeze(1) @ memory).squeeze(1)
