"""Images of different sizes in one padded tensor.

Shapes: N images, C channels, H x W the padded size. Sizes are (height, width). Padding stands at
the bottom and the right, so that box coordinates hold in both frames.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple  # noqa: UP035 (TorchScript evaluates them)

import torch
from detectron2.layers.wrappers import shapes_to_tensor
from torch import Tensor, device
from torch.nn import functional as F


class ImageList:
    """A batch of images and their sizes before padding.

    Attributes:
        tensor: (N, H, W) or (N, C, H, W), padded.
        image_sizes: (height, width) of each image; tensors while tracing.
    """

    def __init__(self, tensor: Tensor, image_sizes: List[Tuple[int, int]]):  # noqa: UP006
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> Tensor:
        """Image `idx` without its padding."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    @torch.jit.unused
    def to(self, *args: Any, **kwargs: Any) -> ImageList:
        """As `Tensor.to`."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> device:
        """Where the images are."""
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: List[Tensor],  # noqa: UP006
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: Optional[Dict[str, int]] = None,  # noqa: UP006, UP045
    ) -> ImageList:
        """Pad images to a common size and stack them; one that needs no padding is not copied.

        Args:
            tensors: images (C, H_i, W_i) or (H_i, W_i), equal but for the last two axes.
            size_divisibility: if above 1, H and W become multiples of it.
            pad_value: value of the padding.
            padding_constraints: may hold "size_divisibility", which replaces the argument, and
                "square_size", which (if positive) replaces the largest height and width.
        """
        assert len(tensors) > 0, "ImageList.from_tensors: no images"
        for image in tensors:
            assert image.shape[:-2] == tensors[0].shape[:-2], (
                "ImageList.from_tensors: images differ in more than height and width"
            )
        side = 0
        if padding_constraints is not None:
            side = padding_constraints.get("square_size", 0)
            size_divisibility = padding_constraints.get("size_divisibility", size_divisibility)
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        if not torch.jit.is_scripting() and torch.jit.is_tracing():
            # As tensors, so that a trace computes the sizes and does not remember them.
            traced = [shapes_to_tensor(size) for size in sizes]
            padded = torch.stack(traced).max(0).values
            if side > 0:
                padded = torch.full_like(padded, side)
            if size_divisibility > 1:
                padded = padded + torch.remainder(-padded, size_divisibility)
            return ImageList(_stack(tensors, padded[0], padded[1], pad_value), traced)
        rows = side if side > 0 else max([size[0] for size in sizes])
        columns = side if side > 0 else max([size[1] for size in sizes])
        if size_divisibility > 1:
            rows += -rows % size_divisibility
            columns += -columns % size_divisibility
        if len(tensors) == 1 and sizes[0] == (rows, columns):
            return ImageList(tensors[0].unsqueeze(0).contiguous(), sizes)
        return ImageList(_stack(tensors, rows, columns, pad_value), sizes)


def _stack(tensors: List[Tensor], rows: int, columns: int, pad_value: float) -> Tensor:  # noqa: UP006
    if len(tensors) == 1:
        height, width = tensors[0].shape[-2], tensors[0].shape[-1]
        padding = [0, columns - width, 0, rows - height]
        return F.pad(tensors[0], padding, value=pad_value).unsqueeze(0).contiguous()
    # Written into one buffer, which spares a second copy of the batch.
    # TorchScript knows no unpacking in lists.
    shape = [len(tensors)] + list(tensors[0].shape[:-2]) + [rows, columns]  # noqa: RUF005
    batch = tensors[0].new_full(shape, pad_value)
    for i, image in enumerate(tensors):
        batch[i, ..., : image.shape[-2], : image.shape[-1]].copy_(image)
    return batch
