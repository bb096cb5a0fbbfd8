"""Plain references: the papers' equations in eager PyTorch, one after the other, as they are first written down.

No fused kernels, no work saved by reordering, autograd all the way. What the papers leave open (how a memory starts,
the floor under a norm) is decided as our models decide it, so that both compute the same numbers from the same
weights: `tests/test_bench.py` holds them to that, gradients included.

Each maps an Episode to logits (B, Q, O), takes episodes of one length (no padding), and is built from ours by `like`.
"""

from __future__ import annotations

from torch import nn

from tests.bench.plain.lstm import PlainLSTM
from tests.bench.plain.mann import PlainMANN
from tests.bench.plain.ntm import PlainNTM
from tests.bench.plain.similarity import by_torch
from tests.bench.plain.snail import PlainSNAIL

PLAIN = {"lstm": PlainLSTM, "ntm": PlainNTM, "mann": PlainMANN, "snail": PlainSNAIL}


def like(model: nn.Module, cosine=by_torch) -> nn.Module:
    """The plain reference of one of our models, with the same weights.

    Args:
        cosine: of those with a memory; `by_equation` gives our numbers to the last digits.
    """
    plain = PLAIN[model.config.name].like(model)
    plain.cosine = cosine
    return plain
