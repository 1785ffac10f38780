"""A feature map that knows where its cells stand in the full-resolution image.

Cell ``k`` stands at ``stride * k + offset`` (full-resolution pixels, continuous, origin top-left)
on either axis. ``offset`` is 1/2 pixel of the network's input for convolutions padded by ``k //
2``, half a stride for patch embeddings. Two maps are compared where the images are: the student
is sampled at the teacher's cell centres that lie inside the image; padding plays no part.

Shapes: N images, C channels, h rows and w columns of cells.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from lowres_d2.structures.frames import Size

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FeatureMap:
    """A feature map with its geometry.

    Attributes:
        tensor: (N, C, h, w).
        stride: full-resolution pixels from one cell to the next.
        offset: full-resolution coordinate of cell 0.
        valid_sizes: (height, width) of each full-resolution image without padding.
    """

    tensor: Float[Tensor, "N C h w"]
    stride: Fraction
    offset: Fraction
    valid_sizes: tuple[Size, ...]

    @classmethod
    def of_network(
        cls,
        tensor: Float[Tensor, "N C h w"],
        stride: float,
        offset: float,
        valid_sizes: tuple[Size, ...],
        factor: Fraction = Fraction(1),
    ) -> FeatureMap:
        """Map of a network that saw the images reduced by ``factor``.

        Args:
            stride: pixels of the network's own input from one cell to the next.
            offset: coordinate of cell 0 in the network's own input.
        """
        return cls(tensor, factor * Fraction(stride), factor * Fraction(offset), valid_sizes)

    def cells_inside(self, index: int) -> Size:
        """Rows and columns of cells that stand inside image ``index``; at least one of each.

        Raises:
            ValueError: the map has fewer cells than its stride says.
        """
        counts = []
        for length, cells in zip(self.valid_sizes[index], self.tensor.shape[-2:], strict=True):
            inside = max(math.ceil((length - self.offset) / self.stride), 1)
            if inside > cells:
                raise ValueError(
                    f"a feature map of {tuple(self.tensor.shape[-2:])} cells cannot cover a "
                    f"image of {self.valid_sizes[index]} at a stride of {self.stride} "
                    "full-resolution pixels: check the stride"
                )
            counts.append(inside)
        return counts[0], counts[1]

    def inside(self, index: int) -> Float[Tensor, "C rows columns"]:
        """(C, rows, columns) of the cells that stand inside image ``index``."""
        rows, columns = self.cells_inside(index)
        return self.tensor[index, :, :rows, :columns]

    def sampled_at(self, other: FeatureMap, index: int) -> Tensor:
        """This map at the cell centres of ``other`` that lie inside image ``index``.

        Bilinear between cells inside the image. Beyond the outermost of them the last two are
        continued linearly, so that whatever is linear in the image stays so up to its border.

        Returns:
            (C, rows, columns), the shape of ``other.inside(index)`` but for the channels.
        """
        return self._interpolated(self.inside(index), other, index)

    def beside(self, other: FeatureMap) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Both maps at the cell centres of ``other`` inside the images, those of a size together.

        Yields:
            Numbers of the n images of one size, this map sampled as :meth:`sampled_at` does, and
            the other: (C, n, rows, columns) each.
        """
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, size in enumerate(self.valid_sizes):
            by_size[size].append(index)
        for members in by_size.values():
            ours, theirs = self._inside_all(members), other._inside_all(members)
            yield members, self._interpolated(ours, other, members[0]), theirs

    def _inside_all(self, members: list[int]) -> Tensor:
        """(C, n, rows, columns) of the cells inside images of one size."""
        rows, columns = self.cells_inside(members[0])
        tensor = self.tensor if len(members) == len(self.tensor) else self.tensor[members]
        return tensor.transpose(0, 1)[..., :rows, :columns]

    def _interpolated(self, values: Tensor, other: FeatureMap, index: int) -> Tensor:
        first = (other.offset - self.offset) / self.stride
        step = other.stride / self.stride
        vertical, horizontal = (
            _interpolation(count, first, step, cells).to(values)
            for count, cells in zip(other.cells_inside(index), values.shape[-2:], strict=True)
        )
        return vertical @ values @ horizontal.T


@lru_cache(maxsize=1024)
def _interpolation(points: int, first: Fraction, step: Fraction, cells: int) -> Tensor:
    """(points, cells) weights of linear interpolation at ``first + step * i``, in cells."""
    weights = torch.zeros(points, cells, dtype=torch.float64)
    if cells == 1:
        return weights + 1
    for point in range(points):
        position = first + step * point
        left = min(max(math.floor(position), 0), cells - 2)
        share = float(position - left)
        weights[point, left] = 1 - share
        weights[point, left + 1] = share
    return weights
