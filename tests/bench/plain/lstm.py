"""nn.LSTM alone, from flat pixels to logits."""

from __future__ import annotations

from torch import Tensor, nn

from metacli.episode import Episode
from tests.bench.plain.inputs import PlainEncoder, find, in_order


class PlainLSTM(nn.Module):
    """What PyTorch offers, one linear layer on top."""

    @classmethod
    def like(cls, model: nn.Module) -> PlainLSTM:
        """With the weights of our LSTM."""
        plain = cls()
        plain.encoder = PlainEncoder.like(model)
        (source,), (output,) = find(model, nn.LSTM), find(model, nn.Linear)
        plain.lstm = nn.LSTM(source.input_size, source.hidden_size, source.num_layers, batch_first=True)
        plain.output = nn.Linear(output.in_features, output.out_features)
        plain.lstm.load_state_dict(source.state_dict())
        plain.output.load_state_dict(output.state_dict())
        return plain

    def forward(self, episode: Episode) -> Tensor:
        """Logits (B, Q, O)."""
        steps, _ = self.lstm(in_order(self.encoder, episode))
        return self.output(steps[:, episode.x_train.shape[1] :])
