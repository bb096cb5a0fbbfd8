"""How checkpoint files are named. Imports no torch."""

from __future__ import annotations

SUFFIX = ".safetensors"
BEST, LAST = f"best{SUFFIX}", f"last{SUFFIX}"  # the two checkpoints of a run directory
