"""Features that keep the objects of an image and forget its background: DFR-Det (Xu et al.,
"Learning 1-Bit Tiny Object Detector with Discriminative Feature Refinement", ICML 2024), Sec. 3.3.

With X the detector's image, M the pixels inside of boxes (Eq. 7) and phi(F) the image decoded from
the features, Eq. 10 is the sum of two losses, and Table 1 has another one:

    object      |M (phi(F) - X)|_1
    background  |(1 - M) phi(F)|_1
    image       |phi(F) - X|_1, without a mask

All are of each image without its padding, then means over the batch. The paper prints a norm, so a
sum over pixels and colours ("sum"), and weighs it by lambda, 0.04 (``loss_weights={"foreground":
0.04}``). In our small FCOS on 256x256 pixels, that begins with about 10,000 times the gradient of
the detector's own losses in the backbone, and a mean over all pixels ("mean", the default) with a
tenth of it: the authors' loss is probably the mean. It drowns objects where they are under 1 % of
an image; "per_region" divides each of the two losses by the pixels that it is of.

The decoder is real-valued and is trained, stored in checkpoints, and dropped at deployment like any
objective. X is a target: nothing is learned through it. Boxes and pixels are in the frame of the
detector's input, which is the low-resolution one where there is a resampler. Ignore regions are
background, as they are to the detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lowres_d2.modeling.objectives.foreground.decoder import ImageDecoder
from lowres_d2.modeling.objectives.foreground.mask import object_mask
from lowres_d2.modeling.objectives.objective import Objective
from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext

import torch
from detectron2.structures import Instances
from jaxtyping import Bool, Float
from torch import Tensor

_LOSSES = ("object", "background", "image")
_REDUCTIONS = ("sum", "mean", "per_region")


class ForegroundRefinement(Objective):
    """Distance of an image decoded from features to the objects of the detector's image (Eq. 10).

    Args:
        decoder: makes the image; it also names the levels.
        losses: those of ``"object"``, ``"background"`` and ``"image"`` that are computed.
        features: path of the module whose output is a dict of the levels.
        reduction: of each image, ``"mean"`` over pixels and colours, ``"sum"`` over them (Eq. 10 as
            printed), or ``"per_region"``: the mean over those of its objects, or its background.
        pixel_mean: with ``pixel_std``, the detector's, 0 to 255: X is normalised by them, so that a
            background of 0 is of mean colour; None for an X in [0, 1], and a black background.
        pixel_std: see ``pixel_mean``.
        name: group of the losses.

    Raises:
        ValueError: a value is unknown, there is no loss, or one of ``pixel_mean`` and ``pixel_std``
            is missing, or is not one number for each channel.
    """

    def __init__(
        self,
        decoder: ImageDecoder,
        losses: Sequence[Literal["object", "background", "image"]] = ("object", "background"),
        features: str = "backbone",
        reduction: Literal["sum", "mean", "per_region"] = "mean",
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        name: str = "foreground",
    ) -> None:
        super().__init__(name)
        unknown = [loss for loss in losses if loss not in _LOSSES]
        if unknown or isinstance(losses, str) or not losses:
            raise ValueError(f"losses={losses!r}: expected a list of {', '.join(_LOSSES)}")
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction={reduction!r}: expected one of {', '.join(_REDUCTIONS)}")
        self.decoder = decoder
        self.losses = tuple(losses)
        self.reduction = reduction
        self.features = Tap(features, call=0)
        self.student_taps = (self.features,)
        mean, std = _pixels(pixel_mean, pixel_std, decoder.image_channels)
        self.register_buffer("pixel_mean", mean, persistent=False)
        self.register_buffer("pixel_std", std, persistent=False)

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """The chosen losses, means over the images.

        Raises:
            KeyError: the features lack a level.
            ValueError: the features are no dict, the decoder makes images of another size or other
                channels, or there are no boxes.
        """
        features = context.student_taps[self.features][0]
        if not isinstance(features, Mapping):
            raise ValueError(
                f"objective {self.name!r}: {self.features.path} gives no dict of feature maps: set "
                "`features` to the path of a backbone or neck"
            )
        decoded = self.decoder(features)
        of_images = [
            self._of_image(*image)
            for image in zip(decoded, context.low_res_images, self._masks(context), strict=True)
        ]
        return {
            name: torch.stack([losses[name] for losses in of_images]).mean() for name in self.losses
        }

    def _masks(self, context: ObjectiveContext) -> list[Bool[Tensor, "_H _W"]]:
        """The pixels of objects in each of the detector's images."""
        factor, masks = context.factor, []
        for image, truth in zip(context.low_res_images, context.ground_truth, strict=True):
            if not (isinstance(truth, Instances) and truth.has("gt_boxes")):
                raise ValueError(f"objective {self.name!r} needs boxes, and an image has none")
            boxes = truth.gt_boxes.tensor.to(image) * factor.denominator / factor.numerator
            masks.append(object_mask(boxes, (image.shape[-2], image.shape[-1])))
        return masks

    def _of_image(
        self,
        decoded: Float[Tensor, "C padded_H padded_W"],
        image: Float[Tensor, "C H W"],
        mask: Bool[Tensor, "H W"],
    ) -> dict[str, Float[Tensor, ""]]:
        height, width = mask.shape
        decoded = decoded[:, :height, :width]  # padding is at the right and at the bottom
        if decoded.shape != image.shape:
            raise ValueError(
                f"objective {self.name!r}: an image of {tuple(decoded.shape)} is decoded, and the "
                f"detector's is {tuple(image.shape)} (channels, height, width): check the "
                "decoder's `strides` and `image_channels`"
            )
        target = (image.detach() * 255 - self.pixel_mean) / self.pixel_std
        difference = (decoded - target).abs()
        pixels = {
            "object": difference * mask,
            "background": decoded.abs() * ~mask,
            "image": difference,
        }
        counts = {"object": mask.sum(), "background": (~mask).sum()}
        losses = {}
        for name in self.losses:
            total = pixels[name].sum()
            if self.reduction == "per_region" and name in counts:
                # An image without objects, or full of them: 0 / 1, not 0 / 0.
                total = total / (len(image) * counts[name]).clamp(min=1)
            elif self.reduction != "sum":
                total = total / image.numel()
            losses[name] = total
        return losses


def _pixels(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[Float[Tensor, "C 1 1"], Float[Tensor, "C 1 1"]]:
    """Mean and standard deviation of X before normalisation, 0 to 255."""
    if (mean is None) != (std is None):
        raise ValueError(f"pixel_mean={mean}, pixel_std={std}: expected both or none")
    if mean is None or std is None:
        mean, std = [0.0] * channels, [255.0] * channels
    for key, values in {"pixel_mean": mean, "pixel_std": std}.items():
        if len(values) != channels:
            raise ValueError(
                f"{key}={list(values)}: expected {channels} numbers, one for each channel"
            )
    mean, std = (torch.tensor([float(v) for v in x])[:, None, None] for x in (mean, std))
    return mean, std
