"""Weight reconstruction: weights of 1-bit layers stay near the two values that stand for them.

Source: DFR-Det (Xu et al., ICML 2024), Eq. 3, "employed for all 1-bit convolution layers". For the
weights w of a layer, its scales alpha (one for each output channel) and b = sign(w):

    loss = 1/2 || w - alpha b ||^2

It is summed over the weights of a layer and over layers, without a mean: the paper's gamma of 1e-4
(``loss_weights={"binary/*": 1e-4}``) belongs to the sum.
"""

from __future__ import annotations

from lowres_d2.layers.one_bit import BinaryConv2d, BinaryWeights, sign
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.structures import ObjectiveContext

import torch
from jaxtyping import Float
from torch import Tensor


class WeightReconstruction(Objective):
    """Half the squared distance of the weights from their signs times scales (Eq. 3).

    Gradients reach the weights, and the scales where they are learned. Scales that are means of |w|
    have no gradient here, as they are at their minimum.

    Args:
        linear: fully connected layers count, too.
        constant_signs: b is a constant; otherwise it is a function of w, with the sign's
            straight-through gradient.
        name: group of the losses.
    """

    def __init__(
        self, linear: bool = False, constant_signs: bool = True, name: str = "binary"
    ) -> None:
        super().__init__(name)
        self.kind = BinaryWeights if linear else BinaryConv2d
        self.constant_signs = constant_signs

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Loss ``reconstruction``.

        Raises:
            ValueError: the detector has no such layer.
        """
        student = context.student
        layers = [m for m in student.modules() if isinstance(m, self.kind)] if student else []
        if not layers:
            raise ValueError(
                f"objective {self.name} (WeightReconstruction): the detector has no 1-bit layer: "
                "make model.detector a `binarized` one"
            )
        return {"reconstruction": torch.stack([self._of(layer) for layer in layers]).sum()}

    def _of(self, layer: BinaryWeights) -> Float[Tensor, ""]:
        signs = layer.binary_weight() if self.constant_signs else sign(layer.weight)
        scale = layer.output_scale().view(-1, *[1] * (signs.dim() - 1))
        return (layer.weight - scale * signs).square().sum() / 2  # Eq. 3
