"""Anchors: for each level of features, the same boxes around every cell.

Shapes: A anchors a cell, H x W cells; anchors are (H * W * A, 4), the anchor index running fastest,
XYXY in pixels of the batched (padded) image, origin top-left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import List  # noqa: UP035  (TorchScript reads the annotations that use it)

import torch
from detectron2._uncovered import uncovered
from detectron2.layers import move_device_like
from detectron2.structures import Boxes
from detectron2.utils.registry import Registry
from torch import nn

ANCHOR_GENERATOR_REGISTRY = Registry("ANCHOR_GENERATOR")
ANCHOR_GENERATOR_REGISTRY.__doc__ = "Anchor generators by name, for yacs configs."


class BufferList(nn.Module):
    """Tensors that move with the module and stay out of its state dict."""

    def __init__(self, buffers: Sequence[torch.Tensor]):
        """
        Args:
            buffers: the tensors; they are named by their index.
        """
        super().__init__()
        for index, buffer in enumerate(buffers):
            self.register_buffer(str(index), buffer, persistent=False)

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(self._buffers.values())


def _create_grid_offsets(
    size: List[int],  # noqa: UP006
    stride: int,
    offset: float,
    target_device_tensor: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The x and y of every cell (H * W each), on the device of the tensor given."""
    height, width = size
    x = move_device_like(
        torch.arange(offset * stride, width * stride, step=stride, dtype=torch.float32),
        target_device_tensor,
    )
    y = move_device_like(
        torch.arange(offset * stride, height * stride, step=stride, dtype=torch.float32),
        target_device_tensor,
    )
    return x.repeat(height), y.repeat_interleave(width)


def _broadcast_params(params: Sequence, num_features: int, name: str) -> list[Sequence[float]]:
    """One sequence of numbers a level, from one for all or one for each."""
    if not isinstance(params, Sequence) or len(params) == 0:
        raise ValueError(f"anchor generator {name}: expected a non-empty sequence, got {params!r}")
    if not isinstance(params[0], Sequence):
        params = [params]
    if len(params) == 1:
        return list(params) * num_features
    if len(params) != num_features:
        raise ValueError(
            f"anchor generator {name}: {len(params)} lists for {num_features} levels of features"
        )
    return list(params)


@ANCHOR_GENERATOR_REGISTRY.register()
class DefaultAnchorGenerator(nn.Module):
    """Anchors of given sizes and aspect ratios at every cell (Ren et al., Faster R-CNN, 2015)."""

    box_dim: torch.jit.Final[int] = 4

    from_config = uncovered("DefaultAnchorGenerator.from_config")

    def __init__(
        self,
        *,
        sizes: Sequence[Sequence[float]] | Sequence[float],
        aspect_ratios: Sequence[Sequence[float]] | Sequence[float],
        strides: Sequence[int],
        offset: float = 0.5,
    ):
        """
        Args:
            sizes: square root of the anchors' areas, in pixels; a list for each level, or one
                list for all.
            aspect_ratios: height / width, likewise.
            strides: stride of each level.
            offset: where the first cell's anchors are centred, in strides, of [0, 1).
        """
        super().__init__()
        if not 0.0 <= offset < 1.0:
            raise ValueError(f"anchor generator offset {offset}: expected at least 0 and below 1")
        self.strides = list(strides)
        self.num_features = len(self.strides)
        self.offset = offset
        self.cell_anchors = self._calculate_anchors(
            _broadcast_params(sizes, self.num_features, "sizes"),
            _broadcast_params(aspect_ratios, self.num_features, "aspect_ratios"),
        )

    def _calculate_anchors(
        self, sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[Sequence[float]]
    ) -> BufferList:
        """Anchors of a cell (A, 4) for each level, from its sizes and its aspect ratios."""
        return BufferList(
            [
                self.generate_cell_anchors(*of_level).float()
                for of_level in zip(sizes, aspect_ratios, strict=True)
            ]
        )

    @property
    @torch.jit.unused
    def num_cell_anchors(self) -> list[int]:
        """Anchors a cell, for each level."""
        return [len(anchors) for anchors in self.cell_anchors]

    @property
    @torch.jit.unused
    def num_anchors(self) -> list[int]:
        """The same as `num_cell_anchors`."""
        return self.num_cell_anchors

    def generate_cell_anchors(
        self,
        sizes: Sequence[float] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1, 2),
    ) -> torch.Tensor:
        """Anchors around (0, 0), sizes outermost: (len(sizes) * len(aspect_ratios), 4)."""
        size, ratio = torch.meshgrid(
            torch.tensor(sizes, dtype=torch.float64),
            torch.tensor(aspect_ratios, dtype=torch.float64),
            indexing="ij",
        )
        # ratio = h / w and size^2 = h w
        width = (size**2 / ratio).sqrt().flatten()
        height = ratio.flatten() * width
        half = torch.stack([width, height], dim=1) / 2
        return torch.cat([-half, half], dim=1).float()

    def _grid_anchors(self, grid_sizes: List[List[int]]) -> List[torch.Tensor]:  # noqa: UP006
        """Anchors (H * W * A, 4) of every level, for levels of the given (H, W)."""
        anchors = []
        cells: List[torch.Tensor] = [x[1] for x in self.cell_anchors.named_buffers()]  # noqa: UP006
        for size, stride, cell in zip(grid_sizes, self.strides, cells):  # noqa: B905
            x, y = _create_grid_offsets(size, stride, self.offset, cell)
            shifts = torch.stack((x, y, x, y), dim=1)
            anchors.append((shifts[:, None] + cell[None]).reshape(-1, 4))
        return anchors

    def forward(self, features: List[torch.Tensor]) -> List[Boxes]:  # noqa: UP006
        """Anchors of each level.

        Args:
            features: a feature map (N, C, H, W) for each level; only the sizes matter.

        Returns:
            `Boxes` of H * W * A anchors for each level, which hold for every image of the batch.
        """
        grid_sizes = [level.shape[-2:] for level in features]
        return [Boxes(level) for level in self._grid_anchors(grid_sizes)]


RotatedAnchorGenerator = uncovered("RotatedAnchorGenerator")
build_anchor_generator = uncovered("build_anchor_generator")
