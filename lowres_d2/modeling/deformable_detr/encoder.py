"""The encoder: every cell of the pyramid attends to points around itself, in all levels.

Layers are post-norm: they normalise the sum of input and residual.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.deformable_attention import MultiScaleDeformableAttention
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry

from jaxtyping import Float
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between; their output is added to the input and normalised.

    Args:
        channels: channels of input and output.
        hidden: channels between both layers.
        dropout: probability.
    """

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        """Update queries or cells."""
        # In place: the backward of a ReLU needs only its output.
        hidden = self.dropout(self.linear1(x).relu_())
        return self.norm(x + self.dropout(self.linear2(hidden)))


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward block.

    Args:
        channels: channels of a cell.
        num_heads: heads of the attention.
        num_levels: levels of the pyramid.
        num_points: points that each head samples in each level.
        feedforward: channels inside the feed-forward block.
        dropout: probability.
    """

    def __init__(
        self,
        channels: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        feedforward: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.attention = MultiScaleDeformableAttention(channels, num_heads, num_levels, num_points)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels, feedforward, dropout)

    def forward(
        self,
        x: Float[Tensor, "N S C"],
        position: Float[Tensor, "#N S C"],
        reference: Float[Tensor, "#N S #L 2"],
        geometry: PyramidGeometry,
    ) -> Float[Tensor, "N S C"]:
        """Update the cells.

        Args:
            x: features of the cells.
            position: positional encoding, added to the queries of the attention.
            reference: centre of each cell, normalised by the padded feature map of each level.
            geometry: geometry of the pyramid.
        """
        attended = self.attention(x + position, reference, x, geometry.sizes, geometry.padding)
        return self.feedforward(self.norm(x + self.dropout(attended)))


class Encoder(nn.Module):
    """Encoder layers in sequence.

    Args:
        num_layers: number of layers.
        num_levels: levels of the pyramid.
        **layer: arguments of ``EncoderLayer``.
    """

    def __init__(self, num_layers: int = 6, num_levels: int = 4, **layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(num_levels=num_levels, **layer) for _ in range(num_layers)
        )

    def forward(
        self,
        x: Float[Tensor, "N S C"],
        position: Float[Tensor, "#N S C"],
        geometry: PyramidGeometry,
    ) -> Float[Tensor, "N S C"]:
        """Run all layers on the cells ``x`` with their positional encoding."""
        # Not refined: the same in all layers.
        reference = geometry.to_maps(geometry.centres())
        for layer in self.layers:
            x = layer(x, position, reference, geometry)
        return x
