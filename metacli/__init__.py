"""metacli: train, evaluate and look inside model-based meta-learners.

What a program needs is here by name and imported when it is first used, torch with it; see docs/python.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metacli.learner import Learner as Learner
    from metacli.learner import load as load

__version__ = "0.1.0"

_HOME = {
    "Learner": "metacli.learner",
    "load": "metacli.learner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'metacli' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
