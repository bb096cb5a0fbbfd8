"""Strokes whose sampling meets with accidents, as DIES says: `restart:rank:step:signal:whom` of each, in a row."""

from __future__ import annotations

import os

import metacli
from metacli.tasks.images.strokes import Strokes


@metacli.register("accidents")
class Accidents(Strokes):
    """At the sampling of a step, which is numbered from 0, a signal to the process itself or to its parent."""

    def batch(self, split, first, count):
        here = [os.environ.get(name, "") for name in ("TORCHELASTIC_RESTART_COUNT", "RANK")]
        for accident in os.environ.get("DIES", "").split():
            restart, rank, step, number, whom = accident.split(":")
            if split == "train" and count > 1 and here == [restart, rank] and first // 7 == int(step):
                os.kill(os.getpid() if whom == "self" else os.getppid(), int(number))
        return super().batch(split, first, count)
