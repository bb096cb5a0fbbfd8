"""What in a model looks at a whole batch, told that the batch lies in several processes."""

from __future__ import annotations

import hashlib

from torch import nn

from metacli.compute.processes import Processes
from metacli.models.layers.dropout import Dropout
from metacli.models.layers.sync_batch_norm import BatchNorm

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def make_distributed(model: nn.Module, processes: Processes, batch: int) -> None:
    """Let batch norm and dropout in training, those of one's own encoder too, act on a batch as one process would.

    Weights, statistics and the keys of the state stay as they are; in a single process so does everything else.

    Args:
        batch: tasks in the whole batch, of which each process has its share; see `Processes.share`.
    """
    for module in model.modules():
        if processes.size > 1 and type(module) in _NORMS:
            module.__class__ = BatchNorm
        if processes.size > 1 and type(module) is nn.Dropout and 0 < module.p < 1:
            module.__class__ = Dropout
        if isinstance(module, BatchNorm):
            module.processes = processes
        if isinstance(module, Dropout):
            module.rows, module.whole = processes.share(batch), batch


def make_local(model: nn.Module) -> nn.Module:
    """The model, to be run by this process alone, on a batch of any size."""
    for module in model.modules():
        for name in ("processes", "rows", "whole"):
            module.__dict__.pop(name, None)
    return model


def check_equal_weights(processes: Processes, model: nn.Module) -> None:
    """Raise a MetacliError if the weights of the processes are no longer equal, bit for bit."""
    if processes.size == 1:
        return
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    hint = "machines of one kind with the same versions compute the same; what is saved is from before"
    processes.check_same("weights", digest.hexdigest(), hint)
