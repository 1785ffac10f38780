"""The real-valued parts of a 1-bit backbone, which take most of its time: stem and shortcuts.

Shapes: N images, C channels in, O out.
"""

from __future__ import annotations

from lowres_d2.deploy.one_bit import binding
from lowres_d2.deploy.one_bit.memory import new_features, new_map
from lowres_d2.deploy.one_bit.paths import path_for
from lowres_d2.modeling.backbone import PReLUStem

import torch
import torch.nn.functional as F
from detectron2.layers import CNNBlockBase, Conv2d
from jaxtyping import Float
from torch import Tensor, nn

GROUP = 16  # outputs


class FusedStem(CNNBlockBase):
    """A ``PReLUStem`` in evaluation: convolution, PReLU and pooling in one pass of the C core.

    Its weights have the names of the stem's. Without the core it runs as the stem does; in float32,
    and without gradients, either way.
    """

    def __init__(self, stem: PReLUStem) -> None:
        """Take the layers of a stem whose norm is folded."""
        super().__init__(stem.in_channels, stem.conv1.out_channels, stem.stride)
        self.pooled, self.conv1, self.prelu = stem.pooled, stem.conv1, stem.prelu

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "N _C H W"]) -> Float[Tensor, "N C h w"]:
        """Features of images, at the stem's stride.

        Raises:
            ValueError: the images have other channels than the weights.
        """
        path, x, conv = path_for(x), x.float(), self.conv1
        kernel, padding = conv.kernel_size[0], conv.padding[0]
        if conv.weight.shape != (self.out_channels, x.shape[1], kernel, kernel):
            shape = tuple(conv.weight.shape)
            raise ValueError(f"images of {x.shape[1]} channels, weights of shape {shape}")
        if path == "torch" or not x.numel():
            x = self.prelu(conv(x))
            return F.max_pool2d(x, kernel_size=3, stride=2, padding=1) if self.pooled else x
        height, width = ((side + 2 * padding - kernel) // 2 + 1 for side in x.shape[-2:])
        rows, columns = ((side - 1) // 2 + 1 if self.pooled else side for side in (height, width))
        out = new_features(len(x), self.out_channels, rows, columns)
        padded = _padded(x, padding)
        slope = self.prelu.weight.expand(self.out_channels)
        binding.stem(
            path,
            images=len(x),
            padded_height=padded.shape[1],
            padded_width=padded.shape[2],
            channels=padded.shape[3],
            kernel=kernel,
            stride=2,
            outputs=self.out_channels,
            conv_height=height,
            conv_width=width,
            pooled=self.pooled,
            out_height=rows,
            out_width=columns,
            input=padded,
            weights=conv.weight.to(x).permute(2, 3, 1, 0).contiguous(),
            bias=binding.vector(conv.bias, self.out_channels, "bias"),
            slope=binding.vector(slope, self.out_channels, "slope"),
            out=out,
        )
        return out


def _padded(x: Tensor, padding: int) -> Float[Tensor, "N padded_H padded_W C"]:
    number, channels, height, width = x.shape
    padded = new_map(number, height + 2 * padding, width + 2 * padding, channels)
    padded[:, :padding] = padded[:, padding + height :] = 0
    padded[:, :, :padding] = padded[:, :, padding + width :] = 0
    padded[:, padding : padding + height, padding : padding + width] = x.permute(0, 2, 3, 1)
    return padded


def stem_of(module: nn.Module) -> FusedStem | None:
    """A fused stem, if the module is one of its form."""
    if type(module) is not PReLUStem:
        return None
    conv = module.conv1
    known = type(conv) is Conv2d and conv.norm is conv.activation is None is not conv.bias
    plain = (conv.stride, conv.dilation, conv.groups) == ((2, 2), (1, 1), 1)
    square = len({*conv.kernel_size}) == 1 and conv.padding == (conv.kernel_size[0] // 2,) * 2
    fits = plain and square and conv.padding_mode == "zeros" and conv.out_channels % GROUP == 0
    return FusedStem(module) if known and fits and type(module.prelu) is nn.PReLU else None
