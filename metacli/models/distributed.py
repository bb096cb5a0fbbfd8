"""Batch norm and dropout that act on a batch divided among several processes."""

from __future__ import annotations

import hashlib

from torch import Tensor, nn

from metacli.compute.processes import Processes
from metacli.models.layers.dropout import Dropout
from metacli.models.layers.sync_batch_norm import Norm, SyncBatchNorm

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def make_distributed(model: nn.Module, processes: Processes, batch: int, batch_norm: str = "synced") -> None:
    """Makes dropout and batch norm in training act as in a single process, including those of registered encoders.

    Weights, statistics and state_dict keys do not change. In a single process, `nn.Dropout` becomes `Dropout` too,
    because the two draw different masks.

    Args:
        batch: number of tasks in the whole batch; each process has a share of them, see `Processes.share`.
        batch_norm: `synced`, or `local` to leave batch norm as it is, see `list_local_statistics`.
    """
    for module in model.modules():
        if type(module) is nn.Dropout and 0 < module.p < 1:
            module.__class__ = Dropout
        if processes.size == 1:
            continue
        if batch_norm == "synced" and type(module) in _BATCH_NORMS:
            module.__class__ = SyncBatchNorm
        if isinstance(module, SyncBatchNorm):
            module.processes = processes
        if isinstance(module, Dropout):
            module.batch_range, module.batch_size = processes.share(batch), batch


def list_local_statistics(model: nn.Module) -> list[Tensor]:
    """Returns the running statistics, each (C,), that training updates from this process's share of the batch alone."""
    norms = [m for m in model.modules() if isinstance(m, Norm) and type(m) in _BATCH_NORMS and m.training]
    return [values for norm in norms for values in (norm.running_mean, norm.running_var) if values is not None]


def make_local(model: nn.Module) -> nn.Module:
    """Undoes `make_distributed`: the model then runs in this process alone, on a batch of any size."""
    for module in model.modules():
        for name in ("processes", "batch_range", "batch_size"):
            module.__dict__.pop(name, None)
    return model


def check_equal_weights(processes: Processes, model: nn.Module) -> None:
    """Raises a MetacliError if the weights of the processes are no longer equal, bit for bit."""
    if processes.size == 1:
        return
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    hint = "use identical machines with the same versions; the last checkpoint was saved before the weights differed"
    processes.check_same("weights", digest.hexdigest(), hint)
