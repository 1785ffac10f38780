"""The decoder: object queries attend to each other, then to the pyramid around their references.

Shapes: N images, Q queries, S cells of all levels, L levels, C channels. Layers normalise after
adding. References and boxes are shares of the image, (x, y) and (x, y, width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.layers.deformable_attention import MultiScaleDeformableAttention
from lowres_d2.modeling.deformable_detr.encoder import FeedForward
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry

from torch import Tensor, nn


class DecoderLayer(nn.Module):
    """Self-attention of the queries, deformable attention to the pyramid, feed-forward block.

    Args:
        channels: C.
        num_heads: of both attentions.
        num_levels: L.
        num_points: of the deformable attention in each level.
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
        self.self_attention = nn.MultiheadAttention(
            channels, num_heads, dropout=dropout, batch_first=True
        )
        self.self_norm = nn.LayerNorm(channels)
        self.attention = MultiScaleDeformableAttention(channels, num_heads, num_levels, num_points)
        self.norm = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels, feedforward, dropout)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        reference: Tensor,
        memory: Tensor,
        geometry: PyramidGeometry,
    ) -> Tensor:
        """Update the queries.

        Args:
            x: (N, Q, C).
            position: (N, Q, C), added where queries and keys are made.
            reference: (N, Q, L or 1, 2 or 4), in the frame of the maps.
            memory: (N, S, C).
            geometry: of the pyramid.
        """
        placed = x + position
        attended, _ = self.self_attention(placed, placed, x, need_weights=False)
        x = self.self_norm(x + self.dropout(attended))
        attended = self.attention(x + position, reference, memory, geometry.sizes, geometry.padding)
        return self.feedforward(self.norm(x + self.dropout(attended)))


class Decoder(nn.Module):
    """Layers one after the other; box heads, where given, move the references between them.

    Args:
        num_layers: how many.
        num_levels: L.
        **layer: arguments of ``DecoderLayer``.
    """

    def __init__(self, num_layers: int = 6, num_levels: int = 4, **layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(num_levels=num_levels, **layer) for _ in range(num_layers)
        )

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        reference: Tensor,
        memory: Tensor,
        geometry: PyramidGeometry,
        refine: Sequence[nn.Module] = (),
    ) -> list[tuple[Tensor, Tensor]]:
        """Run all layers.

        Args:
            x: (N, Q, C) queries.
            position: (N, Q, C) of the queries.
            reference: (N, Q, 2) points or (N, Q, 4) boxes.
            memory: (N, S, C), the encoder's cells.
            geometry: of the pyramid.
            refine: a box head a layer; each layer looks around the boxes of the one before.

        Returns:
            For each layer its queries (N, Q, C), and either the boxes that its head made of them
            or, without ``refine``, the references.
        """
        states = []
        for index, layer in enumerate(self.layers):
            x = layer(x, position, geometry.to_maps(reference), memory, geometry)
            if not refine:
                states.append((x, reference))
                continue
            boxes = refine[index](x, reference)
            states.append((x, boxes))
            # Eq. 9's gradient goes through one layer's offsets only.
            reference = boxes.detach()
        return states
