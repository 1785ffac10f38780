"""What every backbone promises: named feature maps with known channels and strides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from torch import nn


class Backbone(nn.Module, ABC):
    """A network from images (N, C, H, W) to named feature maps.

    Subclasses implement `forward` and set `_out_features`, `_out_feature_channels` and
    `_out_feature_strides`, or override `output_shape`.
    """

    @abstractmethod
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map a batch of images to feature maps by name."""

    @property
    def size_divisibility(self) -> int:
        """Height and width of the input must be a multiple of this; 0 means any size."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Finer padding rules for `ImageList.from_tensors`: `size_divisibility`, `square_size`."""
        return {}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map that `forward` returns."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }


class NamedModules(Sequence):
    """Children of a module as a list; one that is replaced, here or by its name, keeps its name."""

    def __init__(self, owner: nn.Module, names: Sequence[str]):
        self._owner, self._names = owner, list(names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: Any) -> Any:
        names = self._names[index]
        if isinstance(index, slice):
            return [getattr(self._owner, name) for name in names]
        return getattr(self._owner, names)

    def __setitem__(self, index: Any, value: Any) -> None:
        names, values = self._names[index], value
        if not isinstance(index, slice):
            names, values = [names], [value]
        values = list(values)
        if len(values) != len(names):
            raise ValueError(
                f"expected {len(names)} modules ({', '.join(names)}), got {len(values)}"
            )
        for name, module in zip(names, values, strict=True):
            setattr(self._owner, name, module)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Iterable) else NotImplemented

    __hash__ = None  # its items change

    def __repr__(self) -> str:
        return repr(list(self))
