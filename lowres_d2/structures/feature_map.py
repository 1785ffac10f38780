"""A feature map that knows where its cells lie in the full-resolution image.

On either axis the centre of cell ``i`` is at ``stride * i + offset`` (full-resolution pixels,
continuous, origin top-left). ``offset`` is 1/2 pixel of the network's input for convolutions with
kernel size ``k`` and padding ``k // 2``, and half a stride for patch embeddings. Two feature maps
are compared inside the image only: the student is sampled at those cell centres of the teacher that
are not in the padding.
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

_CellsOfImages = Float[Tensor, "_C N h w"]


@dataclass(frozen=True)
class FeatureMap:
    """A feature map with its geometry.

    Attributes:
        tensor: the features.
        stride: full-resolution pixels from one cell to the next.
        offset: full-resolution coordinate of the centre of cell 0.
        valid_sizes: (height, width) of each full-resolution image without padding.

    Raises:
        ValueError: there is not one size for each image, or the stride is not positive.
    """

    tensor: Float[Tensor, "N C h w"]
    stride: Fraction
    offset: Fraction
    valid_sizes: tuple[Size, ...]

    def __post_init__(self) -> None:
        if len(self.valid_sizes) != len(self.tensor):
            raise ValueError(
                f"valid_sizes has {len(self.valid_sizes)} sizes for {len(self.tensor)} images: "
                "expected one for each"
            )
        if self.stride <= 0:
            raise ValueError(f"stride={self.stride}: expected a positive number of pixels")

    @classmethod
    def of_network(
        cls,
        tensor: Float[Tensor, "N C h w"],
        stride: float,
        offset: float,
        valid_sizes: tuple[Size, ...],
        factor: Fraction = Fraction(1),
    ) -> FeatureMap:
        """Feature map of a network whose input was downsampled by ``factor``.

        Args:
            tensor: the features.
            stride: pixels of the network's own input from one cell to the next.
            offset: coordinate of the centre of cell 0 in the network's own input.
            valid_sizes: (height, width) of each full-resolution image without padding.
            factor: full-resolution pixels in one pixel of the network's input.
        """
        # Exact: `Fraction` keeps all bits of a float, and strides and offsets are whole or half.
        return cls(tensor, factor * Fraction(stride), factor * Fraction(offset), valid_sizes)

    def cells_inside(self, index: int) -> Size:
        """Rows and columns of cells whose centres are inside image ``index``; at least 1 each.

        Raises:
            ValueError: the feature map has fewer cells than the image's size and its stride imply.
        """
        counts = []
        for length, cells in zip(self.valid_sizes[index], self.tensor.shape[-2:], strict=True):
            # Fractions: a rounding error would add a cell whose centre is exactly on the border. At
            # least 1, because half a stride, the offset of patches, can be wider than the image.
            inside = max(math.ceil((length - self.offset) / self.stride), 1)
            if inside > cells:
                raise ValueError(
                    f"a feature map of {tuple(self.tensor.shape[-2:])} cells cannot cover an "
                    f"image of {self.valid_sizes[index]} at a stride of {self.stride} "
                    "full-resolution pixels: check the stride"
                )
            counts.append(inside)
        return counts[0], counts[1]

    def inside(self, index: int) -> Float[Tensor, "C h w"]:
        """The cells whose centres are inside image ``index``, without those in the padding."""
        rows, columns = self.cells_inside(index)
        return self.tensor[index, :, :rows, :columns]

    def sampled_at(self, other: FeatureMap, index: int) -> Float[Tensor, "C h w"]:
        """Sample this feature map at the cell centres of ``other`` inside image ``index``.

        Interpolation is bilinear between the cells inside the image. Beyond the outermost cells it
        extrapolates linearly from the last two, so that features that are linear in the image
        coordinates stay linear up to the border.

        Returns:
            A value for each cell of ``other.inside(index)``.

        Raises:
            ValueError: the feature maps are of images of different sizes.
        """
        self._check_same_images(other)
        return self._interpolated(self.inside(index), other, index)

    def beside(
        self, other: FeatureMap
    ) -> Iterator[tuple[list[int], _CellsOfImages, _CellsOfImages]]:
        """Both feature maps at the cell centres of ``other``, images of equal size together.

        Yields:
            Indices of the images of one size, this feature map sampled as in :meth:`sampled_at`,
            and the cells of ``other``.

        Raises:
            ValueError: the feature maps are of images of different sizes.
        """
        self._check_same_images(other)
        # Images of one size have the same sampling weights: one matrix product serves them all.
        by_size: dict[Size, list[int]] = defaultdict(list)
        for index, size in enumerate(self.valid_sizes):
            by_size[size].append(index)
        for members in by_size.values():
            ours, theirs = self._inside_all(members), other._inside_all(members)
            yield members, self._interpolated(ours, other, members[0]), theirs

    def _check_same_images(self, other: FeatureMap) -> None:
        if self.valid_sizes != other.valid_sizes:
            raise ValueError(
                f"feature maps of images of {self.valid_sizes} and {other.valid_sizes}: expected "
                "the same images"
            )

    def _inside_all(self, members: list[int]) -> Float[Tensor, "C N h w"]:
        """The cells inside images of one size."""
        rows, columns = self.cells_inside(members[0])
        # A view if all images have this size; indexing would copy the whole feature map.
        tensor = self.tensor if len(members) == len(self.tensor) else self.tensor[members]
        # Channels first: objectives flatten the rest to the points of all these images, (C, X).
        return tensor.transpose(0, 1)[..., :rows, :columns]

    def _interpolated(
        self, values: Float[Tensor, "*any h w"], other: FeatureMap, index: int
    ) -> Float[Tensor, "*any other_h other_w"]:
        # Centre of the other's cell 0, and the distance of its cells, in cells of this map.
        first = (other.offset - self.offset) / self.stride
        step = other.stride / self.stride
        # Two small matrices, not `grid_sample` or `interpolate`: those repeat or zero what is
        # beyond the border, these extrapolate.
        vertical, horizontal = (
            _interpolation(count, first, step, cells).to(values)
            for count, cells in zip(other.cells_inside(index), values.shape[-2:], strict=True)
        )
        return vertical @ values @ horizontal.T


# Cached: a loop over exact fractions is slow, and the sizes of a data set repeat.
@lru_cache(maxsize=1024)
def _interpolation(
    points: int, first: Fraction, step: Fraction, cells: int
) -> Float[Tensor, "X cells"]:
    """Weights of the cells in each of the points ``first + step * i``, in units of cells."""
    weights = torch.zeros(points, cells, dtype=torch.float64)
    if cells == 1:
        return weights + 1
    for point in range(points):
        position = first + step * point
        # Beyond the border the last two cells stay the neighbours; `share` is then < 0 or > 1.
        left = min(max(math.floor(position), 0), cells - 2)
        share = float(position - left)
        weights[point, left] = 1 - share
        weights[point, left + 1] = share
    return weights
