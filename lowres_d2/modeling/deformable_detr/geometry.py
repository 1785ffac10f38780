"""Positions of the cells of a feature pyramid in their images, with and without padding.

There are two frames, both (x, y) and normalised, 0 to 1: that of the image (boxes, references) and
that of the padded feature map (sampling). Sizes are (height, width). The axis N is 1 where nothing
is padded, as the geometry of all images is then the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowres_d2.modeling.deformable_detr.position import sine_features

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Size = tuple[int, int]


@dataclass(frozen=True)
class PyramidGeometry:
    """The sizes of a batch's feature maps, and the part of each that the image covers.

    Attributes:
        sizes: size of each level's padded feature map, in cells.
        valid: width and height that the image covers in each level, in cells.
        padding: true for cells outside the image; None where nothing is padded.
    """

    sizes: list[Size]
    valid: Float[Tensor, "N L 2"]
    padding: Bool[Tensor, "N S"] | None

    @classmethod
    def of(
        cls,
        levels: Sequence[Float[Tensor, "N C _h _w"]],
        padded_size: Size,
        image_sizes: Sequence[Size],
    ) -> PyramidGeometry:
        """The geometry of these feature maps.

        Args:
            levels: feature map of each level.
            padded_size: size of the padded images, in pixels.
            image_sizes: size of each image without padding, in pixels.
        """
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        # Positions need single precision where features have less.
        dtype = torch.promote_types(levels[0].dtype, torch.float32)
        kind = dict(dtype=dtype, device=levels[0].device)
        if all(tuple(size) == tuple(padded_size) for size in image_sizes):
            return cls(sizes, torch.tensor([[(w, h) for h, w in sizes]], **kind), None)
        # A cell is inside the image if its first pixel is: ceil(image height * h / H) rows are.
        rows, columns = padded_size
        valid = [
            [(-(-x * w // columns), -(-y * h // rows)) for h, w in sizes] for y, x in image_sizes
        ]
        geometry = cls(sizes, torch.tensor(valid, **kind), None)
        inside = [
            (column[None] < w[:, None])[:, None] & (row[None] < h[:, None])[:, :, None]  # (N, h, w)
            for (row, column), (w, h) in zip(
                geometry._indices(), geometry.valid.permute(1, 2, 0), strict=True
            )
        ]
        return cls(sizes, geometry.valid, ~torch.cat([x.flatten(1) for x in inside], 1))

    def _indices(self) -> list[tuple[Float[Tensor, " _h"], Float[Tensor, " _w"]]]:
        """Indices of the rows and of the columns of each level."""
        return [
            (
                torch.arange(h, device=self.valid.device, dtype=self.valid.dtype),
                torch.arange(w, device=self.valid.device, dtype=self.valid.dtype),
            )
            for h, w in self.sizes
        ]

    def _axes(self) -> list[tuple[Float[Tensor, "N _h"], Float[Tensor, "N _w"]]]:
        """Centres of the rows and of the columns of each level, in the frame of the image."""
        return [
            # No epsilon, which the authors add: an image covers at least one cell.
            ((row + 0.5) / self.valid[:, i, 1:], (column + 0.5) / self.valid[:, i, :1])
            for i, (row, column) in enumerate(self._indices())
        ]

    def centres(self) -> Float[Tensor, "N S 2"]:
        """Centres of all cells in the frame of the image."""
        grids = []
        for y, x in self._axes():
            shape = (len(y), y.shape[1], x.shape[1])
            grids.append(torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], -1))
        return torch.cat([grid.flatten(1, 2) for grid in grids], 1)

    def position_features(self, channels: int) -> list[Float[Tensor, "N _S C"]]:
        """Positional encoding of the cells of each level: half the channels for y, then for x."""
        features = []
        for y, x in self._axes():
            shape = (len(y), y.shape[1], x.shape[1], channels // 2)
            of_y = sine_features(y, channels // 2)[:, :, None].expand(shape)
            of_x = sine_features(x, channels // 2)[:, None].expand(shape)
            features.append(torch.cat([of_y, of_x], -1).flatten(1, 2))
        return features

    def to_maps(
        self, reference: Float[Tensor, "N Q 2"] | Float[Tensor, "N Q 4"]
    ) -> Float[Tensor, "N Q #L 2"] | Float[Tensor, "N Q #L 4"]:
        """Points or boxes from the frame of the image to that of each padded feature map."""
        if self.padding is None:
            return reference[:, :, None]
        shares = self.valid / self.valid.new_tensor([(w, h) for h, w in self.sizes])  # (N, L, 2)
        # Widths scale like x and heights like y: (N, Q, L, 2 or 4).
        return reference[:, :, None] * shares.repeat(1, 1, reference.shape[-1] // 2)[:, None]
