"""Multi-scale deformable attention: Zhu et al. 2021 (arXiv 2010.04159), equation 3.

Shapes: N images, Q queries, M heads of D channels, C = M * D, L levels of H_l x W_l cells,
P points a level, S cells of all levels, level after level and row after row. Sizes are (height,
width); points are (x, y), 0 to 1 across the padded map of a level, (0, 0) its top left corner.
"""

from __future__ import annotations

import math

from lowres_d2.layers.deformable_sampling import Sizes, sample_bags, sample_grids

import torch
from torch import Tensor, nn


def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: Sizes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """Weighted sum of bilinear samples; points outside a level count as 0.

    On CPUs this takes the faster of two equal ways, except in traces and exports.

    Args:
        value: (N, S, M, D).
        spatial_shapes: size of each level.
        sampling_locations: (N, Q, M, L, P, 2).
        attention_weights: (N, Q, M, L, P).

    Returns:
        (N, Q, C).
    """
    plain = (
        value.device.type != "cpu"
        or value.dtype not in (torch.float32, torch.float64)
        or not value.dtype == sampling_locations.dtype == attention_weights.dtype
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
    )
    sample = sample_grids if plain else sample_bags
    return sample(value, spatial_shapes, sampling_locations, attention_weights)


class MultiScaleDeformableAttention(nn.Module):
    """Each query looks at a few points around its reference, in every level and head.

    Args:
        channels: C, of queries and values.
        num_heads: M.
        num_levels: L.
        num_points: P.
    """

    def __init__(
        self, channels: int = 256, num_heads: int = 8, num_levels: int = 4, num_points: int = 4
    ) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels={channels}: expected a multiple of num_heads={num_heads}")
        self.samples = (num_heads, num_levels, num_points)
        count = math.prod(self.samples)
        self.sampling_offsets = nn.Linear(channels, 2 * count)
        self.attention_weights = nn.Linear(channels, count)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Points start on rays, one direction a head, 1 to P cells away; weights start equal."""
        heads, levels, points = self.samples
        angle = torch.arange(heads) * (2 * math.pi / heads)
        ray = torch.stack([angle.cos(), angle.sin()], -1)
        ray = ray / ray.abs().amax(-1, keepdim=True)  # onto the square: whole cells
        steps = torch.arange(1, points + 1).view(-1, 1)
        bias = (ray.view(heads, 1, 1, 2) * steps).expand(heads, levels, points, 2)
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(bias.flatten())
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        spatial_shapes: Sizes,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Attend to the cells of a pyramid.

        Args:
            query: (N, Q, C), with its position.
            reference: (N or 1, Q, L or 1, 2) points, or (..., 4) boxes (x, y, width, height).
            memory: (N, S, C).
            spatial_shapes: size of each level.
            padding: (N, S), true where a cell is none of the image's; None: nowhere.

        Returns:
            (N, Q, C).
        """
        n, q, _ = query.shape
        heads, levels, points = self.samples
        value = self.value_proj(memory)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0)
        offsets = self.sampling_offsets(query).view(n, q, heads, levels, points, 2)
        weights = self.attention_weights(query).view(n, q, heads, levels * points).softmax(-1)
        return self.output_proj(
            multi_scale_deformable_attention(
                value.view(n, -1, heads, value.shape[-1] // heads),
                spatial_shapes,
                _locations(reference[:, :, None, :, None], offsets, spatial_shapes),
                weights.view(n, q, heads, levels, points),
            )
        )


def _locations(reference: Tensor, offsets: Tensor, spatial_shapes: Sizes) -> Tensor:
    """References moved by offsets in cells, or, of boxes, in half widths and heights over P."""
    # With x and y in front: numbers that neighbours share are added faster than pairs of them.
    offsets, reference = offsets.movedim(-1, 2), reference.movedim(-1, 2)
    if reference.shape[2] == 2:
        step = reference.new_tensor([[1 / w, 1 / h] for h, w in spatial_shapes])
        step = step.t()[:, None, :, None].expand(offsets.shape[2:]).contiguous()
    else:
        reference, size = reference.chunk(2, 2)
        step = size * (0.5 / offsets.shape[-1])
    return torch.addcmul(reference, offsets, step).movedim(2, -1)
