"""The decoder: object queries attend to each other, then to the pyramid around their references.

References are points (x, y) or boxes (x, y, width, height) around their centre, normalised by the
image's size. Layers are post-norm: they normalise the sum of input and residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowres_d2.layers.deformable_attention import MultiScaleDeformableAttention
from lowres_d2.modeling.deformable_detr.encoder import FeedForward
from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry

from jaxtyping import Float
from torch import Tensor, nn


class DecoderLayer(nn.Module):
    """Self-attention of the queries, deformable attention to the pyramid, feed-forward block.

    Args:
        channels: channels of a query and of a cell.
        num_heads: heads of both attentions.
        num_levels: levels of the pyramid.
        num_points: points that each head of the deformable attention samples in each level.
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
        # As in DETR; nn.MultiheadAttention draws only its input projections so.
        nn.init.xavier_uniform_(self.self_attention.out_proj.weight)

    def forward(
        self,
        x: Float[Tensor, "N Q C"],
        position: Float[Tensor, "N Q C"],
        reference: Float[Tensor, "N Q #L 2"] | Float[Tensor, "N Q #L 4"],
        memory: Float[Tensor, "N S C"],
        geometry: PyramidGeometry,
    ) -> Float[Tensor, "N Q C"]:
        """Update the queries.

        Args:
            x: features of the queries.
            position: positional encoding, added to the queries and keys of the attentions.
            reference: points or boxes, normalised by the padded feature map of each level.
            memory: the encoder's cells.
            geometry: geometry of the pyramid.
        """
        placed = x + position
        # Without weights as an output torch can use its fused attention.
        attended, _ = self.self_attention(placed, placed, x, need_weights=False)
        x = self.self_norm(x + self.dropout(attended))
        attended = self.attention(x + position, reference, memory, geometry.sizes, geometry.padding)
        return self.feedforward(self.norm(x + self.dropout(attended)))


class Decoder(nn.Module):
    """Decoder layers in sequence; box heads, if given, refine the references between them.

    Args:
        num_layers: number of layers.
        num_levels: levels of the pyramid.
        **layer: arguments of ``DecoderLayer``.
    """

    def __init__(self, num_layers: int = 6, num_levels: int = 4, **layer: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(num_levels=num_levels, **layer) for _ in range(num_layers)
        )

    def forward(
        self,
        x: Float[Tensor, "N Q C"],
        position: Float[Tensor, "N Q C"],
        reference: Float[Tensor, "N Q 2"] | Float[Tensor, "N Q 4"],
        memory: Float[Tensor, "N S C"],
        geometry: PyramidGeometry,
        refine: Sequence[nn.Module] = (),
    ) -> list[tuple[Float[Tensor, "N Q C"], Float[Tensor, "N Q 2"] | Float[Tensor, "N Q 4"]]]:
        """Run all layers.

        Args:
            x: features of the queries.
            position: positional encoding of the queries.
            reference: points or boxes.
            memory: the encoder's cells.
            geometry: geometry of the pyramid.
            refine: one box head per layer; each layer samples around the boxes of the layer
                before.

        Returns:
            For each layer its queries, and the boxes that its head made of them; without
            ``refine`` the references.
        """
        states = []
        for index, layer in enumerate(self.layers):
            x = layer(x, position, geometry.to_maps(reference), memory, geometry)
            if not refine:
                states.append((x, reference))
                continue
            boxes = refine[index](x, reference)
            states.append((x, boxes))
            # As in the paper, Eq. 9, the gradient of a box goes through one layer's offsets only.
            reference = boxes.detach()
        return states
