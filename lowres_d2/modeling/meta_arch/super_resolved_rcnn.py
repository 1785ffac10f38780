"""Two-stage detectors whose heads super-resolve small proposals: forward passes in training.

"Better to Follow", ICCV 2019, Fig. 3: the backbone sees the image, and the downsampled image as
well. Its atrous twin, which shares its parameters, sees the image with a receptive field that is
larger by the ratio of the downsampling, 2 in the paper. Boxes are XYXY in pixels of the network's
input.
"""

from __future__ import annotations

from typing import Any

from lowres_d2.modeling.backbone.atrous_twin import AtrousTwin
from lowres_d2.modeling.backbone.cell_offsets import cell_offsets
from lowres_d2.modeling.modes import in_eval_mode
from lowres_d2.modeling.resample import Bicubic, Resampler
from lowres_d2.modeling.roi_heads.super_resolved_heads import SuperResolvedHeads

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import ImageList, Instances
from jaxtyping import Float
from torch import Tensor, nn

Features = dict[str, Float[Tensor, "N _C _h _w"]]


class SuperResolvedRCNN(GeneralizedRCNN):
    """Faster or Cascade R-CNN with super-resolved heads.

    In evaluation it runs as ``GeneralizedRCNN``, without the parts that only supervise. In training
    it returns only losses that depend on a trainable parameter.

    Args:
        roi_heads: ``SuperResolvedRes5ROIHeads`` or another ``SuperResolvedHeads``.
        downsampler: makes the downsampled images that super-resolution learns from, if it has a
            single ratio; None: bicubic interpolation by each ratio.
        **kwargs: other arguments of ``GeneralizedRCNN``.

    Raises:
        ValueError: the backbone lacks a feature map of ``sub_in_features``, or the downsampler's
            factor is not the only ratio of super-resolution.
    """

    def __init__(
        self,
        *,
        roi_heads: SuperResolvedHeads,
        downsampler: Resampler | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(roi_heads=roi_heads, **kwargs)
        rules, layers = roi_heads.super_resolution, self.backbone.output_shape()
        missing = [name for name in rules.sub_in_features if name not in layers]
        if missing:
            raise ValueError(
                f"super_resolution.sub_in_features: the backbone does not output {missing[0]!r}, "
                f"only {', '.join(layers)}: add it to the backbone's out_features"
            )
        if downsampler is not None and rules.ratios != (downsampler.factor,):
            raise ValueError(
                f"downsampler: its factor is {downsampler.factor}, super_resolution.ratios is "
                f"{[*rules.ratios]}: expected that factor alone, or no downsampler (bicubic, by "
                "each)"
            )
        self.downsamplers = nn.ModuleDict(
            {str(r): Bicubic(r) if downsampler is None else downsampler for r in rules.ratios}
        )
        if rules.aligned:
            rules.cell_offsets = cell_offsets(self.backbone, len(self.pixel_mean))
        # Not registered as modules: their parameters are the backbone's.
        self._twins: dict[int, AtrousTwin] = {}
        self._offsets_of_twins: dict[int, dict[str, float]] = {}

    def train(self, mode: bool = True) -> SuperResolvedRCNN:
        """Training or evaluation mode; atrous twins are built for training alone.

        Raises:
            ValueError: this backbone cannot have an atrous twin.
        """
        rules = self.roi_heads.super_resolution
        if mode and rules.supervision == "atrous":
            for ratio in rules.ratios:
                self._make_twin(ratio)
        return super().train(mode)

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Float[Tensor, ""]] | list[dict]:
        """Losses in training, detections in evaluation: see ``GeneralizedRCNN.forward``."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        targets = [x["instances"].to(self.device) for x in batched_inputs]
        features = self.backbone(images.tensor)
        proposals, losses = self.proposal_generator(images, features, targets)
        sampled, of_heads = self.roi_heads(images, features, proposals, targets)
        losses = {**losses, **of_heads}
        if self.roi_heads.super_resolution.is_taught:
            losses |= self._teaching_losses(batched_inputs, images, features, sampled)
        # A frozen proposal generator (Sec. 4.3) still computes its losses, without a graph.
        return {name: loss for name, loss in losses.items() if loss.requires_grad}

    def _teaching_losses(
        self,
        batched_inputs: list[dict[str, Any]],
        images: ImageList,
        features: Features,
        sampled: list[Instances],
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of generator or discriminator, means over the ratios of this iteration."""
        found = []
        for ratio in self.roi_heads.super_resolution.taught_ratios:
            low_res = self.low_res_features(batched_inputs, ratio)
            target = self.target_features(images, features, ratio)
            offsets = self.target_offsets(ratio)
            found.append(
                self.roi_heads.super_resolution_losses(low_res, target, sampled, ratio, offsets)
            )
        return {name: sum(losses[name] for losses in found) / len(found) for name in found[0]}

    @torch.no_grad()
    def low_res_features(self, batched_inputs: list[dict[str, Any]], ratio: int) -> Features:
        """The backbone's feature maps of images downsampled by ``ratio``.

        The backbone is in evaluation mode, so that its running statistics do not change.
        """
        # Of the image as the network gets it: the paper does not say how it is downsampled.
        # Resamplers work on [0, 1], `preprocess_image` on 0 to 255.
        images = [x["image"].to(self.device).float() / 255 for x in batched_inputs]
        low_res = [{"image": 255 * image} for image in self.downsamplers[str(ratio)](images)]
        with in_eval_mode(self.backbone):
            return self.backbone(self.preprocess_image(low_res).tensor)

    def target_features(self, images: ImageList, features: Features, ratio: int) -> Features:
        """Feature maps of the full images that are super-resolution's targets.

        Args:
            images: full images, normalised and padded.
            features: the backbone's feature maps of them, the targets of naive supervision.
            ratio: ratio of the atrous twin, whose feature maps are the targets otherwise.
        """
        if self.roi_heads.super_resolution.supervision == "naive":
            return features
        return self._make_twin(ratio)(images.tensor)

    def target_offsets(self, ratio: int) -> dict[str, float] | None:
        """Where the cells of :meth:`target_features` lie, see ``cell_offsets``; None: unaligned."""
        rules = self.roi_heads.super_resolution
        if rules.supervision == "naive" or not rules.aligned:
            return rules.cell_offsets
        if ratio not in self._offsets_of_twins:
            network = self._make_twin(ratio).network
            self._offsets_of_twins[ratio] = cell_offsets(network, len(self.pixel_mean))
        return self._offsets_of_twins[ratio]

    def _make_twin(self, ratio: int) -> AtrousTwin:
        if ratio not in self._twins:
            self._twins[ratio] = AtrousTwin(self.backbone, ratio)
        return self._twins[ratio]
