"""A convolution of -1 and +1 with -1 and +1."""

from __future__ import annotations

from lowres_d2.layers.one_bit.weights import BinaryWeights

from detectron2.layers import Conv2d
from jaxtyping import Float
from torch import Tensor


class BinaryConv2d(BinaryWeights, Conv2d):
    """Detectron2's ``Conv2d`` in 1 bit: binarised input and weights, scale, bias, norm, activation.

    Zero padding adds zeros to the binarised input: a padded cell counts neither way.

    Args:
        args: of Detectron2's ``Conv2d``.
        input_quantizer: as of :class:`~lowres_d2.layers.one_bit.BinaryWeights`.
        scale: likewise.
        kwargs: of Detectron2's ``Conv2d``, with ``norm`` and ``activation``.

    Raises:
        ValueError: there is no such scale.
    """

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N O out_h out_w"]:
        """Convolve, scale, add the bias, normalise, activate."""
        scale = self.output_scale()
        x = self._conv_forward(self.input_quantizer(x), self._trained_signs(scale), None)
        x = x * scale.to(x.dtype)[:, None, None]
        if self.bias is not None:
            x = x + self.bias.to(x.dtype)[:, None, None]
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        return x
