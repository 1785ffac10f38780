"""Queries: learned ones, or the encoder's best cells (two-stage: Zhu et al. 2021, section 4.2).

References are points (x, y) or boxes (x, y, width, height) around their centre, normalised by the
image's size.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowres_d2.modeling.deformable_detr.geometry import PyramidGeometry
from lowres_d2.modeling.deformable_detr.heads import BoxHead, class_head
from lowres_d2.modeling.deformable_detr.position import sine_features

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Queries:
    """Input of the decoder.

    Attributes:
        content: initial features of the queries.
        position: positional encoding of the queries.
        reference: points or boxes.
        proposals: ``pred_logits`` (N, S, K) and ``pred_boxes`` (N, S, 4) of all cells; None for
            learned queries.
    """

    content: Float[Tensor, "N Q C"]
    position: Float[Tensor, "N Q C"]
    reference: Float[Tensor, "N Q 2"] | Float[Tensor, "N Q 4"]
    proposals: dict[str, Float[Tensor, "N S _size"]] | None = None


class LearnedQueries(nn.Module):
    """The same queries for every image.

    Args:
        num_queries: number of queries.
        channels: channels of a query.
    """

    def __init__(self, num_queries: int, channels: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(num_queries, channels))
        self.content = nn.Parameter(torch.randn(num_queries, channels))
        self.reference_points = nn.Linear(channels, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, memory: Float[Tensor, "N S C"], geometry: PyramidGeometry) -> Queries:
        """The queries, repeated for each image of ``memory``."""
        # Back to single precision: under autocast the layer gives less, too coarse for points.
        reference = self.reference_points(self.position).to(self.position).sigmoid()
        # Copies, no views: under no_grad a view of a parameter still says that it requires
        # gradients, and torch's FLOP counter fails on it.
        alike = (x.repeat(len(memory), 1, 1) for x in (self.content, self.position, reference))
        return Queries(*alike)


class TwoStageQueries(nn.Module):
    """Every cell proposes a box; the best boxes become references and are encoded as queries.

    Args:
        num_queries: number of queries.
        channels: channels of a query and of a cell.
        num_classes: number K of classes.
    """

    def __init__(self, num_queries: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.cell = nn.Linear(channels, channels)
        self.cell_norm = nn.LayerNorm(channels)
        self.class_head = class_head(channels, num_classes)
        self.box_head = BoxHead(channels)
        self.position = nn.Linear(2 * channels, 2 * channels)
        self.position_norm = nn.LayerNorm(2 * channels)
        for linear in (self.cell, self.position):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, memory: Float[Tensor, "N S C"], geometry: PyramidGeometry) -> Queries:
        """The queries of the images whose encoded cells are ``memory``."""
        anchors = _anchors(geometry)  # (N or 1, S, 4)
        # As the authors: no proposals from the outermost cells and of the largest anchors.
        usable = ((anchors > 0.01) & (anchors < 0.99)).all(-1, keepdim=True)
        if geometry.padding is not None:
            usable = usable & ~geometry.padding[..., None]
        cells = self.cell_norm(self.cell(memory.masked_fill(~usable, 0)))
        logits = self.class_head(cells)
        # Unusable cells have box logits of infinity, as the authors' checkpoints were trained.
        known = anchors.logit().masked_fill(~usable, float("inf"))
        box_logits = self.box_head.logits(cells) + known
        # The proposals are trained as one class, the first.
        best = logits[..., 0].topk(min(self.num_queries, logits.shape[1]), dim=1).indices  # (N, Q)
        # Detached, as the authors do: the decoder does not train the proposals. (N, Q, 4)
        reference = box_logits.gather(1, best[..., None].expand(-1, -1, 4)).detach().sigmoid()
        features = sine_features(reference, memory.shape[-1] // 2).flatten(-2)  # (N, Q, 2 C)
        position, content = self.position_norm(self.position(features)).chunk(2, -1)
        proposals = {"pred_logits": logits, "pred_boxes": box_logits.sigmoid()}
        return Queries(content, position, reference, proposals)


def _anchors(geometry: PyramidGeometry) -> Float[Tensor, "N S 4"]:
    """A square around every cell: 0.05 wide in the first level, then twice as wide per level."""
    centres = geometry.centres()
    widths = [
        centres.new_full((h * w, 2), 0.05 * 2**level) for level, (h, w) in enumerate(geometry.sizes)
    ]
    return torch.cat([centres, torch.cat(widths).expand(len(centres), -1, -1)], -1)
