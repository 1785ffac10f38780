"""A super-resolution network in Detectron2's terms: trained on pairs made of each image.

"Low-resolution visual recognition via deep feature distillation", ICASSP 2019, Sec. 3.5: of a 32x32
image the target has 16x16 pixels and the network's input 8x8. Images are CHW, from 0 to 255 in
inputs and in [0, 1] everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from lowres_d2.modeling.resample.interpolation import Downsampled, Interpolation, interpolated
from lowres_d2.modeling.super_resolution.adversarial import adversarial_loss, discriminator_loss
from lowres_d2.structures import Size, as_factor, by_size, check_factor_fits

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class SuperResolver(nn.Module):
    """Trains and evaluates a super-resolution network on downsampled images.

    Both players of SRGAN (Ledig et al., CVPR 2017) train in one iteration, of one forward pass of
    the network: their losses share no trainable parameter. While the discriminator is frozen (a
    stage), the content alone is trained, as the paper starts.

    Args:
        network: super-resolution network with a ``factor``.
        low_factor: factor of the downsampling to the network's input; 4: 8x8 of 32x32 pixels.
        interpolation: of the downsampling, see ``DownUp``.
        discriminator: tells targets from the network's images; None: no adversarial loss.
        content: gives ``loss_content`` of the network's images and the targets; None: the mean of
            squared differences over images, channels and pixels. ``FeatureContent``: of features.

    Raises:
        ValueError: the target would have more pixels than the image, or the interpolation is
            unknown.
    """

    def __init__(
        self,
        network: nn.Module,
        low_factor: Fraction | int | float | str = 4,
        interpolation: Interpolation = "bicubic",
        discriminator: nn.Module | None = None,
        content: nn.Module | None = None,
    ) -> None:
        super().__init__()
        factor = as_factor(low_factor)
        if factor < network.factor:
            raise ValueError(
                f"low_factor={low_factor} with a network that super-resolves {network.factor}x: "
                f"expected {network.factor} or more, so that there are targets"
            )
        self.network = network
        self.discriminator = discriminator
        self.content = content
        self.to_low_res = Downsampled(factor, interpolation)
        self.to_target = Downsampled(factor / network.factor, interpolation)

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.network.parameters()).device

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict[str, Float[Tensor, "C _H _W"]]]:
        """Losses in training, images in evaluation.

        Args:
            batched_inputs: a dict for each image: ``image`` (C, H, W), 0 to 255.

        Returns:
            In training ``loss_content``, and where the discriminator trains ``loss_adversarial``
            and ``loss_discriminator``. In evaluation for each image ``super_resolved``, in [0, 1],
            its ``target`` of the same size, ``low_res``, which the network was given, and
            ``bicubic``, that enlarged by interpolation, to compare with.

        Raises:
            ValueError: images of a training batch differ in size, or one is too small.
        """
        images = [x["image"].to(self.device).float() / 255 for x in batched_inputs]
        for x, image in zip(batched_inputs, images, strict=True):
            size = image.shape[-2], image.shape[-1]
            check_factor_fits(size, self.to_low_res.factor, x.get("file_name", "an image"))
        # As in `LowResDetector`: bfloat16 is too coarse for the mean of several pixels.
        with torch.autocast(self.device.type, enabled=False):
            low_res, targets = self.to_low_res(images), self.to_target(images)
        if self.training:
            return self._losses(batched_inputs, low_res, targets)
        found = self._super_resolved(low_res, [(t.shape[-2], t.shape[-1]) for t in targets])
        return [
            {
                "super_resolved": image.float().clamp(0, 1),
                "target": target,
                "low_res": low,
                "bicubic": self._enlarged(low)[:, : target.shape[-2], : target.shape[-1]],
            }
            for image, target, low in zip(found, targets, low_res, strict=True)
        ]

    def _enlarged(self, low_res: Float[Tensor, "C h w"]) -> Float[Tensor, "C H W"]:
        size = tuple(side * self.network.factor for side in low_res.shape[-2:])
        return interpolated(low_res[None], size, "bicubic")[0].clamp(0, 1)

    def _losses(
        self,
        batched_inputs: list[dict[str, Any]],
        low_res: list[Float[Tensor, "C _h _w"]],
        targets: list[Float[Tensor, "C _H _W"]],
    ) -> dict[str, Float[Tensor, ""]]:
        sizes = {tuple(x["image"].shape[-2:]) for x in batched_inputs}
        if len(sizes) > 1:
            (h, w), (other_h, other_w) = sorted(sizes)[:2]
            raise ValueError(
                f"images of a batch differ in size ({w}x{h}, {other_w}x{other_h}): "
                "super-resolution trains on images of one size; crop them in the mapper"
            )
        target = torch.stack(targets)
        height, width = target.shape[-2:]
        # The network's images of padded ones are larger.
        generated = self.network(torch.stack(low_res))[..., :height, :width].float()
        content = F.mse_loss if self.content is None else self.content
        losses = {"loss_content": content(generated, target)}
        player = self.discriminator
        if player is not None and any(p.requires_grad for p in player.parameters()):
            losses["loss_adversarial"] = adversarial_loss(player, generated)
            losses["loss_discriminator"] = discriminator_loss(player, target, generated)
        return losses

    def _super_resolved(
        self, low_res: Sequence[Float[Tensor, "C _h _w"]], sizes: Sequence[Size]
    ) -> list[Float[Tensor, "C _H _W"]]:
        """The network's images, those of one size in one batch, cropped to these sizes."""
        made = by_size(self.network, low_res)
        return [image[:, :h, :w] for image, (h, w) in zip(made, sizes, strict=True)]
