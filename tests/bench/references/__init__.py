"""Plain references: the papers' equations in eager PyTorch, one after the other, as they are first written down.

No fused kernels, no reordering to save work, autograd throughout. What the papers leave open (the initial memory, the
floor under a norm) is as in our models, so that both compute the same numbers from the same weights. Tests compare
values and gradients.

Each maps an Episode to logits (B, Q, O) and takes episodes of one length (no padding).
"""

from __future__ import annotations

from torch import nn

from tests.bench.references.dnc import PlainDNC
from tests.bench.references.lstm import PlainLSTM
from tests.bench.references.mann import PlainMANN
from tests.bench.references.ntm import PlainNTM
from tests.bench.references.similarity import torch_cosine
from tests.bench.references.snail import PlainSNAIL

REFERENCES = {"lstm": PlainLSTM, "ntm": PlainNTM, "mann": PlainMANN, "dnc": PlainDNC, "snail": PlainSNAIL}


def build_reference(model: nn.Module, cosine=torch_cosine) -> nn.Module:
    """Returns the plain reference of one of our models, with the same weights.

    Args:
        cosine: the similarity of memory networks; `explicit_cosine` gives our numbers to the last digits.
    """
    reference = REFERENCES[model.config.name].from_model(model)
    reference.cosine = cosine
    return reference
