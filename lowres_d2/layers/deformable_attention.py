"""Multi-scale deformable attention: Zhu et al. 2021 (arXiv 2010.04159), equation 3.

Sizes are (height, width), in cells. Points are (x, y), normalised to 0 to 1 across the padded
feature map of a level, with (0, 0) at its top left corner.
"""

from __future__ import annotations

import math

from lowres_d2.layers.deformable_sampling import Sizes, sample_bags, sample_grids

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def multi_scale_deformable_attention(
    value: Float[Tensor, "N S heads channels"],
    spatial_shapes: Sizes,
    sampling_locations: Float[Tensor, "N Q heads L points 2"],
    attention_weights: Float[Tensor, "N Q heads L points"],
) -> Float[Tensor, "N Q heads*channels"]:
    """Weighted sum of bilinear samples; points outside a level count as 0.

    There are two equivalent implementations. CPUs use the faster one, except in traces and exports.

    Args:
        value: projected features of the cells.
        spatial_shapes: size of each level.
        sampling_locations: normalised points of each query.
        attention_weights: weight of each point.

    Raises:
        ValueError: the points are in another number of levels than there are sizes.
    """
    _check_levels(spatial_shapes, sampling_locations.shape[-3])
    # The CPU's version needs one dtype, which autocast does not give, and reads a number back from
    # a tensor, which breaks graphs and freezes sizes in traces.
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
    """Each query samples a few points around its reference, in every level and head.

    Args:
        channels: channels of queries, memory and output.
        num_heads: attention heads; they share the channels equally.
        num_levels: levels of the pyramid.
        num_points: points of each query per head and level.
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
        """Points start on one ray per head, 1 to ``num_points`` cells away; weights start equal."""
        heads, levels, points = self.samples
        angle = torch.arange(heads) * (2 * math.pi / heads)
        ray = torch.stack([angle.cos(), angle.sin()], -1)
        ray = ray / ray.abs().amax(-1, keepdim=True)  # scaled onto a square: offsets of whole cells
        distances = torch.arange(1, points + 1).view(-1, 1)
        bias = (ray.view(heads, 1, 1, 2) * distances).expand(heads, levels, points, 2)
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
        query: Float[Tensor, "N Q C"],
        reference: Float[Tensor, "#N Q #L 2"] | Float[Tensor, "#N Q #L 4"],
        memory: Float[Tensor, "N S C"],
        spatial_shapes: Sizes,
        padding: Bool[Tensor, "N S"] | None = None,
    ) -> Float[Tensor, "N Q C"]:
        """Attend to the cells of a pyramid.

        Args:
            query: queries with their positional encoding added.
            reference: normalised points, or boxes as (x, y, width, height) around their centre; one
                per level, or one for all levels.
            memory: features of the cells.
            spatial_shapes: size of each level.
            padding: true for cells outside the image; None: no cell is.

        Raises:
            ValueError: the number of sizes is not ``num_levels``.
        """
        n, q, _ = query.shape
        heads, levels, points = self.samples
        _check_levels(spatial_shapes, levels)
        value = self.value_proj(memory)
        if padding is not None:
            # After the projection: its bias would make padded cells count.
            value = value.masked_fill(padding[..., None], 0)
        offsets = self.sampling_offsets(query).view(n, q, heads, levels, points, 2)
        # Eq. 3: weights sum to 1 over the points of all levels, not of each level.
        weights = self.attention_weights(query).view(n, q, heads, levels * points).softmax(-1)
        return self.output_proj(
            multi_scale_deformable_attention(
                value.view(n, -1, heads, value.shape[-1] // heads),
                spatial_shapes,
                _locations(reference[:, :, None, :, None], offsets, spatial_shapes),
                weights.view(n, q, heads, levels, points),
            )
        )


def _check_levels(spatial_shapes: Sizes, expected: int) -> None:
    if len(spatial_shapes) != expected:
        raise ValueError(f"spatial_shapes has {len(spatial_shapes)} levels, expected {expected}")


def _locations(
    reference: Float[Tensor, "#N Q 1 #L 1 2"] | Float[Tensor, "#N Q 1 #L 1 4"],
    offsets: Float[Tensor, "N Q heads L points 2"],
    spatial_shapes: Sizes,
) -> Float[Tensor, "N Q heads L points 2"]:
    """References shifted by their offsets.

    Offsets are in cells for points, and in half widths and heights divided by the number of points
    for boxes.
    """
    # x and y go in front: broadcasting single numbers along the innermost axis beats pairs.
    offsets, reference = offsets.movedim(-1, 2), reference.movedim(-1, 2)  # (N, Q, 2, ...)
    if reference.shape[2] == 2:
        step = reference.new_tensor([[1 / w, 1 / h] for h, w in spatial_shapes])
        # (2, heads, L, points), like the offsets of an image and query.
        step = step.t()[:, None, :, None].expand(offsets.shape[2:]).contiguous()
    else:
        reference, size = reference.chunk(2, 2)
        # At the start the farthest of the points, at offset `points`, is on the box's border.
        step = size * (0.5 / offsets.shape[-1])
    return torch.addcmul(reference, offsets, step).movedim(2, -1)
