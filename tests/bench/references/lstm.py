"""nn.LSTM alone, from flat pixels to logits."""

from __future__ import annotations

from torch import Tensor, nn

from metacli.episode import Episode
from tests.bench.references.encoder import PlainEncoder, encode_sequence, find_modules


class PlainLSTM(nn.Module):
    """PyTorch's LSTM and a linear layer."""

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainLSTM:
        """Builds it with the weights of our LSTM."""
        plain = cls()
        plain.encoder = PlainEncoder.from_model(model)
        (source,), (output,) = find_modules(model, nn.LSTM), find_modules(model, nn.Linear)
        plain.lstm = nn.LSTM(source.input_size, source.hidden_size, source.num_layers, batch_first=True)
        plain.output = nn.Linear(output.in_features, output.out_features)
        plain.lstm.load_state_dict(source.state_dict())
        plain.output.load_state_dict(output.state_dict())
        return plain

    def forward(self, episode: Episode) -> Tensor:
        """Returns logits (B, Q, O)."""
        steps, _ = self.lstm(encode_sequence(self.encoder, episode))
        return self.output(steps[:, episode.x_train.shape[1] :])
