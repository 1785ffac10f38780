"""The encoder: every cell of the pyramid attends to points around itself, in all levels.

Shapes: N images, S cells of all levels, L levels, C channels. Layers normalise after adding.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.layers.deformable_attention import MultiScaleDeformableAttention
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Two linear layers with a ReLU, added to their input and normalised.

    Args:
        channels: of input and output.
        hidden: of the layer between.
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

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same."""
        hidden = self.dropout(self.linear1(x).relu_())
        return self.norm(x + self.dropout(self.linear2(hidden)))


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward block.

    Args:
        channels: C.
        num_heads: of the attention.
        num_levels: L.
        num_points: of the attention in each level.
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
        self, x: Tensor, position: Tensor, reference: Tensor, geometry: PyramidGeometry
    ) -> Tensor:
        """Update the cells.

        Args:
            x: (N, S, C).
            position: (N or 1, S, C), added where queries are made.
            reference: (N or 1, S, L or 1, 2), the cells' own places in every level.
            geometry: of the pyramid.
        """
        attended = self.attention(x + position, reference, x, geometry.sizes, geometry.padding)
        return self.feedforward(self.norm(x + self.dropout(attended)))


class Encoder(nn.Module):
    """Layers one after the other.

    Args:
        num_layers: how many.
        num_levels: L.
        **layer: arguments of ``EncoderLayer``.
    """

    def __init__(self, num_layers: int = 6, num_levels: int = 4, **layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(num_levels=num_levels, **layer) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, position: Tensor, geometry: PyramidGeometry) -> Tensor:
        """(N, S, C) cells, (N or 1, S, C) positions, to (N, S, C)."""
        reference = geometry.to_maps(geometry.centres())
        for layer in self.layers:
            x = layer(x, position, reference, geometry)
        return x
