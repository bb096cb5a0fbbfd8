"""The inputs of the plain references: four convolution blocks in the paper's order, then the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metacli.episode import Episode

_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.BatchNorm1d)


class PlainEncoder(nn.Module):
    """Convolution, batch norm, ReLU, pooling, four times over; or flat pixels.

    Args:
        config: of our encoder.
        x_shape: (C, H, W) or (D,).
    """

    def __init__(self, config, x_shape: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        size = 0
        if config.kind == "conv":
            channels, height, width = x_shape
            for _ in range(4):
                layers += [nn.Conv2d(channels, config.channels, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(config.channels), nn.ReLU()]
                channels = config.channels
                if min(height, width) > 1:
                    layers += [nn.MaxPool2d(2)]
                    height, width = height // 2, width // 2
            size = channels * height * width
        layers += [nn.Flatten()]
        if config.size:
            layers += [nn.Linear(size, config.size)]
            size = config.size
        if config.normalise:
            layers += [nn.BatchNorm1d(size, affine=False)]
        self.layers = nn.Sequential(*layers)

    @classmethod
    def from_model(cls, model: nn.Module) -> PlainEncoder:
        """Builds the plain form of a model's encoder, with the same weights."""
        encoder = cls(model.config.encoder, model.spec.x_shape)
        layers, sources = (find_modules(m, _LAYERS) for m in (encoder, model.encoder))
        for layer, source in zip(layers, sources, strict=True):
            layer.load_state_dict(source.state_dict())
        return encoder

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, T, *x_shape) to (B, T, features)."""
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def find_modules(model: nn.Module, kind) -> list[nn.Module]:
    """Returns the modules of a class in order, without those of a model's encoder."""
    return [m for name, m in model.named_modules() if isinstance(m, kind) and not name.startswith("encoder.")]


def encode_sequence(encoder: PlainEncoder, episode: Episode) -> Tensor:
    """Returns D_train, then D_test (B, S + Q, I): each encoded item with the label that arrives with it, or zeros.

    Raises:
        ValueError: the episode's tasks have several lengths.
    """
    if episode.mask_train is not None and not episode.mask_train.all():
        raise ValueError("a plain reference takes episodes of one length: fix it, as in task.length=20")
    x, y = torch.cat([episode.x_train, episode.x_test], 1), episode.y_train
    late_labels = episode.y_previous
    if late_labels is None:
        late_labels = y.new_zeros(*episode.x_test.shape[:2], y.shape[2])
    return torch.cat([encoder(x), torch.cat([y, late_labels], 1).to(x.dtype)], -1)
