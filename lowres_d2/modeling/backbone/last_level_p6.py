"""P6 of a feature pyramid by one convolution, for detectors on P2 to P6.

Detectron2's ``LastLevelP6P7`` always adds two levels, and its ``LastLevelMaxPool`` none that is
learned.
"""

from __future__ import annotations

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, get_norm
from jaxtyping import Float
from torch import Tensor, nn


class LastLevelP6(nn.Module):
    """A 3x3 convolution of stride 2, the ``top_block`` of Detectron2's ``FPN``.

    Args:
        in_channels: channels of ``in_feature``.
        out_channels: channels of P6, those of the other levels.
        in_feature: the feature map that P6 is computed from: ``p5`` of the pyramid, or ``res5`` of
            the backbone below it.
        norm: name of a normalisation that ``get_norm`` knows; without one the convolution has a
            bias, as in ``FPN``.
    """

    num_levels = 1  # read by FPN

    def __init__(
        self, in_channels: int, out_channels: int, in_feature: str = "p5", norm: str = ""
    ) -> None:
        super().__init__()
        self.in_feature = in_feature
        self.p6 = Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            stride=2,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, out_channels),
        )
        weight_init.c2_xavier_fill(self.p6)

    def forward(self, x: Float[Tensor, "N C h w"]) -> list[Float[Tensor, "N out half_h half_w"]]:
        """P6, from the feature map that it is made of."""
        return [self.p6(x)]
