"""What in a model looks at a whole batch, told that the batch lies in several processes."""

from __future__ import annotations

from torch import nn

from metacli.machine.ranks import Ranks
from metacli.models.batch_norm import BatchNorm
from metacli.models.dropout import Dropout

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def spread(model: nn.Module, ranks: Ranks, batch: int) -> None:
    """Let batch norm and dropout in training, those of one's own encoder too, act on a batch as one process would.

    Weights, statistics and the keys of the state stay as they are; in a single process so does everything else.

    Args:
        batch: tasks in the whole batch, of which each process has its share; see `Ranks.share`.
    """
    for module in model.modules():
        if ranks.size > 1 and type(module) in _NORMS:
            module.__class__ = BatchNorm
        if ranks.size > 1 and type(module) is nn.Dropout and 0 < module.p < 1:
            module.__class__ = Dropout
        if isinstance(module, BatchNorm):
            module.ranks = ranks
        if isinstance(module, Dropout):
            module.rows, module.whole = ranks.share(batch), batch


def alone(model: nn.Module) -> nn.Module:
    """The model, to be run by this process alone, on a batch of any size."""
    for module in model.modules():
        for name in ("ranks", "rows", "whole"):
            module.__dict__.pop(name, None)
    return model
