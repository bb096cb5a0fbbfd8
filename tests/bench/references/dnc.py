"""The Differentiable Neural Computer, equation by equation (Graves et al. 2016, Methods)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.episode import Episode
from tests.bench.references.encoder import PlainEncoder, encode_sequence, find_modules
from tests.bench.references.similarity import torch_cosine


class PlainDNC(nn.Module):
    """An LSTM controller, one write head, R read heads, a memory (B, L, W) and its temporal links (B, L, L).

    Attributes:
        cosine: one of `similarity`.
    """

    cosine = staticmethod(torch_cosine)

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainDNC:
        """Builds it with the weights of our DNC (LSTM controller of one layer)."""
        plain = cls()
        plain.config, plain.encoder = model.config, PlainEncoder.from_model(model)
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
        batch, heads, width = inputs.shape[0], c.read_heads, c.width
        sizes = [heads * width, heads, width, 1, width, width, heads, 1, 1, 3 * heads]
        memory = inputs.new_full((batch, c.locations, width), 1e-6)
        usage = written = precedence = inputs.new_zeros(batch, c.locations)
        links = inputs.new_zeros(batch, c.locations, c.locations)
        reading = inputs.new_zeros(batch, heads, c.locations)
        reads = inputs.new_zeros(batch, heads, width)
        h = s = inputs.new_zeros(batch, c.hidden)
        answers = []
        for t in range(inputs.shape[1]):
            h, s = self.cell(torch.cat([inputs[:, t], reads.flatten(1)], -1), (h, s))
            numbers = self.heads(h).split(sizes, -1)
            key, strength, write_key, write_strength, erase, vector, free, allocating, writing, modes = numbers
            strength, write_strength = 1 + F.softplus(strength), 1 + F.softplus(write_strength)
            free, allocating, writing = torch.sigmoid(free), torch.sigmoid(allocating), torch.sigmoid(writing)
            backward_mode, content_mode, forward_mode = modes.unflatten(1, (heads, 3)).softmax(-1).split(1, -1)

            retention = (1 - free.unsqueeze(2) * reading).prod(1)  # psi_t
            usage = (usage + written - usage * written) * retention  # u_t
            similarity = self.cosine(write_key.unsqueeze(1), memory)
            content = torch.softmax(write_strength * similarity, -1)  # c^w_t
            written = writing * (allocating * allocate(usage) + (1 - allocating) * content)  # w^w_t
            memory = memory * (1 - written.unsqueeze(2) * torch.sigmoid(erase).unsqueeze(1))
            memory = memory + written.unsqueeze(2) * vector.unsqueeze(1)  # M_t

            row, column = written.unsqueeze(2), written.unsqueeze(1)
            links = (1 - row - column) * links + row * precedence.unsqueeze(1)
            links = links * (1 - torch.eye(c.locations, dtype=links.dtype))  # L_t
            precedence = (1 - written.sum(1, keepdim=True)) * precedence + written  # p_t

            similarity = self.cosine(key.unflatten(1, (heads, width)).unsqueeze(2), memory.unsqueeze(1))
            content = torch.softmax(strength.unsqueeze(2) * similarity, -1)  # c^(r,i)_t
            backward, forward = reading @ links, reading @ links.mT  # b^i_t, f^i_t
            reading = backward_mode * backward + content_mode * content + forward_mode * forward  # w^(r,i)_t
            reads = reading @ memory  # r^i_t
            if t >= episode.x_train.shape[1]:
                answers.append(self.output(torch.cat([h, reads.flatten(1)], -1)))
        return torch.stack(answers, 1)


def allocate(usage: Tensor) -> Tensor:
    """Returns a_t (B, L); usages are ordered to 1e-4 and at least 1e-6 in products, as in our model."""
    order = (usage * 1e4).round().argsort(dim=-1, stable=True)  # phi_t
    ascending = (1e-6 + (1 - 1e-6) * usage).gather(1, order)
    before = F.pad(ascending[:, :-1], (1, 0), value=1.0).cumprod(1)
    return torch.zeros_like(usage).scatter(1, order, (1 - ascending) * before)
