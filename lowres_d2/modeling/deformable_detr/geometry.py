"""Where the cells of a feature pyramid stand in their images, with and without padding.

Shapes: N images, or 1 where all are alike; L levels of H_l x W_l cells, S cells in all, level
after level and row after row; C channels. Two frames, both 0 to 1 and (x, y): that of the image
(boxes, references) and that of the padded map (sampling). Sizes are (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.modeling.deformable_detr.position import sine_features

import torch
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class PyramidGeometry:
    """The sizes of a batch's feature maps, and how much of each is image.

    Attributes:
        sizes: of each level's padded map.
        valid: (N, L, 2) widths and heights that hold the image, in cells; N is 1 where nothing
            is padded.
        padding: (N, S), true outside of the image; None where nothing is padded.
    """

    sizes: list[Size]
    valid: Tensor
    padding: Tensor | None

    @classmethod
    def of(
        cls, levels: Sequence[Tensor], padded_size: Size, image_sizes: Sequence[Size]
    ) -> PyramidGeometry:
        """The geometry of these feature maps (N, C, H_l, W_l).

        Args:
            levels: their maps.
            padded_size: size of the batch of images.
            image_sizes: size of each image in it.
        """
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        # Positions need single precision where features have less.
        dtype = torch.promote_types(levels[0].dtype, torch.float32)
        kind = dict(dtype=dtype, device=levels[0].device)
        if all(tuple(size) == tuple(padded_size) for size in image_sizes):
            return cls(sizes, torch.tensor([[(w, h) for h, w in sizes]], **kind), None)
        # A cell is the image's where its first pixel is: ceil(h * H_l / H) rows of them.
        rows, columns = padded_size
        valid = [
            [(-(-x * w // columns), -(-y * h // rows)) for h, w in sizes] for y, x in image_sizes
        ]
        geometry = cls(sizes, torch.tensor(valid, **kind), None)
        inside = [
            (column[None] < w[:, None])[:, None] & (row[None] < h[:, None])[:, :, None]
            for (row, column), (w, h) in zip(
                geometry._indices(), geometry.valid.permute(1, 2, 0), strict=True
            )
        ]
        return cls(sizes, geometry.valid, ~torch.cat([x.flatten(1) for x in inside], 1))

    def _indices(self) -> list[tuple[Tensor, Tensor]]:
        """Of each level, the numbers of its rows and of its columns."""
        return [
            (
                torch.arange(h, device=self.valid.device, dtype=self.valid.dtype),
                torch.arange(w, device=self.valid.device, dtype=self.valid.dtype),
            )
            for h, w in self.sizes
        ]

    def _axes(self) -> list[tuple[Tensor, Tensor]]:
        """Of each level, the centres of its rows (N, H_l) and columns (N, W_l) in the image."""
        return [
            ((row + 0.5) / self.valid[:, i, 1:], (column + 0.5) / self.valid[:, i, :1])
            for i, (row, column) in enumerate(self._indices())
        ]

    def centres(self) -> Tensor:
        """(N, S, 2): centres of all cells in the frame of the image."""
        grids = []
        for y, x in self._axes():
            shape = (len(y), y.shape[1], x.shape[1])
            grids.append(torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], -1))
        return torch.cat([grid.flatten(1, 2) for grid in grids], 1)

    def position_features(self, channels: int) -> list[Tensor]:
        """Of each level (N, H_l * W_l, channels): features of y, then of x."""
        features = []
        for y, x in self._axes():
            shape = (len(y), y.shape[1], x.shape[1], channels // 2)
            of_y = sine_features(y, channels // 2)[:, :, None].expand(shape)
            of_x = sine_features(x, channels // 2)[:, None].expand(shape)
            features.append(torch.cat([of_y, of_x], -1).flatten(1, 2))
        return features

    def to_maps(self, reference: Tensor) -> Tensor:
        """(N, Q, 2 or 4) points or boxes of the image to (N, Q, L or 1, 2 or 4) of the maps."""
        if self.padding is None:
            return reference[:, :, None]
        shares = self.valid / self.valid.new_tensor([(w, h) for h, w in self.sizes])
        return reference[:, :, None] * shares.repeat(1, 1, reference.shape[-1] // 2)[:, None]
