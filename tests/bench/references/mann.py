"""MANN, equation by equation (Santoro et al. 2016, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.episode import Episode
from tests.bench.references.encoder import PlainEncoder, encode_sequence, find_modules
from tests.bench.references.similarity import torch_cosine


class PlainMANN(nn.Module):
    """An LSTM controller, R heads that read by content and write to the least used, a memory (B, L, W).

    Attributes:
        cosine: one of `similarity`.
    """

    cosine = staticmethod(torch_cosine)

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainMANN:
        """Builds it with the weights of our MANN (LSTM controller of one layer, write before read)."""
        c, plain = model.config, cls()
        plain.config, plain.encoder = c, PlainEncoder.from_model(model)
        (cell,), (heads, output) = find_modules(model, nn.LSTMCell), find_modules(model, nn.Linear)
        plain.cell = nn.LSTMCell(cell.input_size, cell.hidden_size)
        plain.heads = nn.Linear(heads.in_features, heads.out_features)
        plain.output = nn.Linear(output.in_features, output.out_features)
        for layer, source in ((plain.cell, cell), (plain.heads, heads), (plain.output, output)):
            layer.load_state_dict(source.state_dict())
        return plain

    def forward(self, episode: Episode) -> Tensor:
        """Returns logits (B, Q, O)."""
        c, inputs = self.config, encode_sequence(self.encoder, episode)
        batch = inputs.shape[0]
        separate = c.write_vector == "separate"
        sizes = [c.width, 1, c.width * separate, int(c.learn_strength)]
        memory = inputs.new_full((batch, c.locations, c.width), 1e-6)
        reads = inputs.new_zeros(batch, c.read_heads, c.width)
        reading = writing = F.one_hot(torch.arange(c.read_heads), c.locations).to(inputs.dtype).expand(batch, -1, -1)
        usage = inputs.new_zeros(batch, c.locations)
        h = s = inputs.new_zeros(batch, c.hidden)
        answers = []
        for t in range(inputs.shape[1]):
            h, s = self.cell(torch.cat([inputs[:, t], reads.flatten(1)], -1), (h, s))
            key, alpha, vector, raw = self.heads(h).unflatten(1, (c.read_heads, -1)).split(sizes, -1)
            strength = F.softplus(raw) if c.learn_strength else c.strength
            least = usage.argsort(dim=-1, stable=True)[:, : c.read_heads]
            ranked = F.one_hot(least, c.locations).to(inputs.dtype)
            least_used = ranked if c.least_used == "own" else ranked.sum(1, keepdim=True)  # eq. 6
            erased = ranked.sum(1) if c.erase == "all" else ranked[:, 0]
            gate = torch.sigmoid(alpha)
            writing = gate * reading + (1 - gate) * least_used  # eq. 7
            memory = memory * (1 - erased).unsqueeze(2)
            memory = memory + writing.mT @ (vector if separate else key)  # eq. 8
            similarity = self.cosine(key.unsqueeze(2), memory.unsqueeze(1))  # eq. 2, (B, R, L)
            reading = torch.softmax(strength * similarity, -1)  # eq. 3
            reads = reading @ memory  # eq. 4
            usage = (c.usage_decay * usage + reading.sum(1) + writing.sum(1)).detach()  # eq. 5
            if t >= episode.x_train.shape[1]:
                answers.append(self.output(torch.cat([h, reads.flatten(1)], -1)))
        return torch.stack(answers, 1)
