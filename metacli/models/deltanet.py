"""DeltaNet: linear attention whose memory is a fast weight matrix that is written by the delta rule."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.models.base import MetaLearner, ScanKind
from metacli.models.encoder import EncoderConfig
from metacli.models.layers.delta_block import DeltaBlock
from metacli.models.layers.delta_rule import Writes, delta_chunks, delta_each, delta_steps
from metacli.models.trace import ArrayInfo, Trace, Traced

_ARRAYS = {
    "read_shares": "share of the value of each step in what a head retrieves, by absolute coefficient; sum to 1",
    "retrieved": "W_t q_t, the value that each head retrieves from its fast weights",
    "strength": "beta_t in (0, 1): 0 writes nothing, 1 replaces what the fast weights hold at the key",
    "retention": "alpha_t in (0, 1], the share of the fast weights that is kept before the write",
    "weight_norm": "Frobenius norm of W_t, the fast weights after the step",
}


class Phi(NamedTuple):
    """DeltaNet's phi: fast weights, whose size does not depend on the number of support examples.

    Attributes:
        weights: (B, layers, heads, D, D), W_t after D_train, from keys to values.
        recent: (B, layers, C - 1, 3 * width) the last queries, keys and values before the short convolution of C items.
    """

    weights: Tensor
    recent: Tensor


class DeltaNet(MetaLearner):
    """A network of fast weight layers (Schlag et al. 2021, arXiv 2102.11174).

    The decay of its weights is that of Yang et al. 2024 (arXiv 2412.06464). Items are [encoder(x), y], as in every
    model. Each head writes a value v_t at a key k_t into a matrix W_t and reads it with a query q_t:

    W_t = alpha_t W_{t-1} + beta_t (v_t - alpha_t W_{t-1} k_t) k_t^T,   r_t = W_t q_t.

    A write replaces what W holds at the key. This is the erase and add of an NTM, with a key instead of a location.
    phi is W of every head after D_train. Its size is constant, and it can be extended by further examples.

    Before the features are computed, queries, keys and values are mixed with those of the previous items, by a learnt
    weight for each dimension (the short convolution of Yang et al. 2024, arXiv 2406.06484). In a stream, whose labels
    arrive one item late, a value then meets the key of its own item. It starts as the identity.
    """

    tiny: ClassVar[dict[str, Any]] = {"width": 8, "layers": 2, "heads": 2}
    can_extend = True

    class Config(BaseConfig):
        """Keys of a DeltaNet."""

        name: Literal["deltanet"] = Field("deltanet", description="Registered name of the model.")
        encoder: EncoderConfig = Field(EncoderConfig(), description="How inputs become features.")
        width: int = Field(
            128, ge=2, le=8192, description="Width of the representation between layers. A multiple of `heads`."
        )
        layers: int = Field(
            3, ge=1, le=64, description="Number of stacked layers, each with fast weights and a feed-forward network."
        )
        heads: int = Field(
            4, ge=1, le=64, description="Heads per layer, each with its own fast weights. Must divide `width`."
        )
        convolution: int = Field(
            4,
            ge=1,
            le=16,
            description=(
                "Number of items, from each item backwards, that a short convolution mixes into its query, key and "
                "value. 1 mixes none. Streams and sequence tasks need at least 2."
            ),
        )
        gated: bool = Field(
            True, description="Multiply the fast weights by a learnt retention in (0, 1) before each write."
        )

        @model_validator(mode="after")
        def _check_heads(self) -> DeltaNet.Config:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} must be a multiple of heads, {self.heads}")
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        c = config
        self.embed = nn.Linear(self.input_size, c.width)
        self.blocks = nn.ModuleList(DeltaBlock(c.width, c.heads, c.convolution, c.gated) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.output = nn.Linear(c.width, spec.out_size)
        self.uses_chunks = True

    def use_scan(self, requested: ScanKind, device: torch.device) -> str:
        """See `MetaLearner.use_scan`: `plain` computes item by item, `fast` and `auto` a chunk of items at a time."""
        self.uses_chunks = requested != "plain"
        return "fast: chunks of items in parallel" if self.uses_chunks else "plain: as requested"

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """Returns phi, the fast weights after D_train. Padding is at the end."""
        c, like = self.config, self.output.weight
        size = c.width // c.heads
        weights = like.new_zeros(len(x_train), c.layers, c.heads, size, size)
        phi = Phi(weights, like.new_zeros(len(x_train), c.layers, c.convolution - 1, 3 * c.width))
        return self._run_items(phi, self.encode_items(x_train, y_train), mask)[1] if x_train.shape[1] else phi

    def extend(self, phi: Phi, x_train: Tensor, y_train: Tensor) -> Phi:
        """See `MetaLearner.extend`: continues to write."""
        return self._run_items(phi, self.encode_items(x_train, y_train))[1]

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, O): each query from phi alone, or all queries in order (stream, sequence)."""
        items, _ = self._run_items(phi, self.encode_items(x_test, y_previous), is_query=True)
        return self.output(self.norm(items))

    def trace(self, episode: Episode) -> Trace:
        """Returns what each head writes and retrieves, and the items after the last layer as the state.

        What a head retrieves is a sum of the values of all steps. Its coefficients are what the same rule retrieves if
        each step writes its own one-hot vector as value.
        """
        seen, asked = episode.x_train.shape[1], episode.x_test.shape[1]
        support: list[Writes] = []
        queries: list[Writes] = []
        phi, all_items = self.adapt(episode.x_train[:, :0], episode.y_train[:, :0]), []
        if seen:
            inputs = self.encode_items(episode.x_train, episode.y_train)
            items, phi = self._run_items(phi, inputs, episode.mask_train, record=support)
            all_items.append(items)
        inputs = self.encode_items(episode.x_test, episode.y_previous)
        items, _ = self._run_items(phi, inputs, is_query=True, record=queries)
        all_items.append(items)
        onehot = torch.eye(seen + asked, dtype=items.dtype, device=items.device)
        frames: list[dict[str, Tensor]] = []
        for i, query in enumerate(queries):
            parts = [*([support[i]] if seen else []), query]
            retrieved, norm = self._replay(parts)
            named = [
                part._replace(value=rows.expand(*part.key.shape[:2], -1, -1))
                for part, rows in zip(parts, onehot.split([seen, asked][-len(parts) :]), strict=True)
            ]
            coefficients = self._replay(named)[0].abs()
            frames.append(
                {
                    "read_shares": coefficients / coefficients.sum(-1, keepdim=True).clamp_min(1e-30),
                    "retrieved": retrieved,
                    "strength": torch.cat([p.strength for p in parts], 2).unsqueeze(-1),
                    "retention": torch.cat([p.log_retention for p in parts], 2).exp().unsqueeze(-1),
                    "weight_norm": norm.unsqueeze(-1),
                }
            )
        c = self.config
        names = tuple(f"layer{i}.head{j}" for i in range(c.layers) for j in range(c.heads))
        axes = {"read_shares": "step", "retrieved": "width"}
        arrays = {}
        for name, text in _ARRAYS.items():
            role: Any = "attention" if name == "read_shares" else "" if name == "retrieved" else "level"
            about = ArrayInfo(("head", axes.get(name, "one")), text, role, names=names)
            arrays[name] = Traced(torch.cat([f[name] for f in frames], 1).transpose(1, 2), about)
        return Trace(self.output(self.norm(items)), arrays, state=torch.cat(all_items, 1))

    def _replay(self, parts: list[Writes]) -> tuple[Tensor, Tensor]:
        """Returns what the items of D_train, if any, and D_test read (B, heads, T, V), and the norm of W after each."""
        weights = parts[0].key.new_zeros(*parts[0].key.shape[:2], parts[0].value.shape[-1], parts[0].key.shape[-1])
        reads, norms = [], []
        for part in parts:
            parallel = part is parts[-1] and self.spec.mode == "independent"
            batch, _, count, _ = part.key.shape
            if parallel:  # every query has its own copy of W
                part = Writes(*(a.transpose(1, 2).flatten(0, 1).unsqueeze(2) for a in part))
                weights = weights.repeat_interleave(count, 0)
            read, states = delta_steps(weights, part)
            norm = torch.stack([w.flatten(2).norm(dim=2) for w in states], 2)
            if parallel:
                read, norm = (a.squeeze(2).unflatten(0, (batch, count)).transpose(1, 2) for a in (read, norm))
            reads.append(read)
            norms.append(norm)
            weights = states[-1]
        return torch.cat(reads, 2), torch.cat(norms, 2)

    def _run_items(
        self,
        phi: Phi,
        inputs: Tensor,
        mask: Tensor | None = None,
        is_query: bool = False,
        record: list[Writes] | None = None,
    ) -> tuple[Tensor, Phi]:
        """Computes items (B, T, input_size) that follow phi: in order, or each directly after phi.

        Args:
            mask: (B, T) bool, False at padding, which is at the end. None: no padding.
            is_query: in the mode `independent`, queries follow phi directly, and phi stays as it is.
            record: if given, what each layer writes is appended to it.

        Returns:
            The items (B, T, width) after the last layer, and phi after them.
        """
        parallel = is_query and self.spec.mode == "independent"
        x, all_weights, all_recent = self.embed(inputs), [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, DeltaBlock)
            weights = phi.weights[:, layer]
            items, recent = block.project_items(x, phi.recent[:, layer], mask, parallel)
            if record is not None:
                record.append(items)
            if parallel:
                reads = delta_each(weights, items)
            elif self.uses_chunks:
                reads, weights = delta_chunks(weights, items)
            else:
                reads, states = delta_steps(weights, items)
                weights = states[-1]
            all_weights.append(weights)
            all_recent.append(recent)
            x = block(x, reads)
        return x, Phi(torch.stack(all_weights, 1), torch.stack(all_recent, 1))
