"""From a backbone's feature maps to a pyramid of equal channels: Deformable DETR, appendix A.2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from detectron2.layers import Conv2d, ShapeSpec, get_norm
from jaxtyping import Float
from torch import Tensor, nn


class LevelProjection(nn.Module):
    """1x1 convolutions of the backbone's feature maps; 3x3 with stride 2 for coarser levels.

    Args:
        input_shape: shapes of the backbone's feature maps by name.
        in_features: names of the feature maps to use, finest first.
        out_channels: channels of every level.
        num_levels: total number of levels; those that the backbone lacks are computed from its
            last feature map.
        norm: name of a normalisation that ``get_norm`` knows, or a function of the channels.

    Raises:
        ValueError: ``in_features`` are unknown to the backbone, none, or more than ``num_levels``.
    """

    def __init__(
        self,
        input_shape: Mapping[str, ShapeSpec],
        in_features: Sequence[str],
        out_channels: int = 256,
        num_levels: int = 4,
        norm: str | Callable[[int], nn.Module] = "GN",
    ) -> None:
        super().__init__()
        unknown = [name for name in in_features if name not in input_shape]
        if unknown or not 1 <= len(in_features) <= num_levels:
            raise ValueError(
                f"in_features={list(in_features)}: expected 1 to {num_levels} of the backbone's "
                f"feature maps {list(input_shape)}"
            )
        self.in_features = list(in_features)
        widths = [input_shape[name].channels for name in in_features]
        below = num_levels - len(widths)
        self.lateral = nn.ModuleList(
            Conv2d(width, out_channels, kernel_size=1, norm=get_norm(norm, out_channels))
            for width in widths
        )
        self.below = nn.ModuleList(
            Conv2d(
                width,
                out_channels,
                kernel_size=3,
                stride=2,
                padding=1,
                norm=get_norm(norm, out_channels),
            )
            for width in [widths[-1], *[out_channels] * below][:below]
        )
        for convolution in (*self.lateral, *self.below):
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(
        self, features: Mapping[str, Float[Tensor, "N _C _h _w"]]
    ) -> list[Float[Tensor, "N C _h _w"]]:
        """The levels of the pyramid, finest first."""
        maps = [features[name] for name in self.in_features]
        levels = [convolution(x) for convolution, x in zip(self.lateral, maps, strict=True)]
        # The backbone's own feature map, not its projection: C6 is made from C5 (appendix A.2).
        last = maps[-1]
        for convolution in self.below:
            last = convolution(last)
            levels.append(last)
        return levels
