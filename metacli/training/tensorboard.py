"""Event files for TensorBoard (the extra `tensorboard`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metacli.errors import MetacliError


def check_tensorboard() -> None:
    """Raise a MetacliError if the extra is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise MetacliError("tensorboard is not installed", "pip install 'metacli[tensorboard]'") from None


def open_writer(folder: Path) -> Any:
    """Returns a writer of event files in a folder."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def write_scalars(writer: Any, record: dict[str, Any]) -> None:
    """Write one line of the log as scalars. Validation scores are named val/NAME."""
    scalars = {**record, **{f"val/{name}": value for name, value in record.get("val", {}).items()}}
    for name, value in scalars.items():
        if isinstance(value, float):
            writer.add_scalar(name, value, record["step"])
    writer.flush()
