"""Two-stage detectors whose heads super-resolve small proposals: the passes that training needs.

"Better to Follow", ICCV 2019, Fig. 4: the backbone sees the image and, reduced, the image
again; its atrous twin, which shares its parameters, sees the image with a receptive field larger
by the ratio of the reduction, 2 in the paper. Shapes: N images (C, H, W). Boxes are XYXY in
pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lowres_d2.modeling.backbone.atrous_twin import AtrousTwin
from lowres_d2.modeling.resample import Bicubic, Resampler
from lowres_d2.modeling.roi_heads.super_resolved_heads import SuperResolvedHeads

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn


class SuperResolvedRCNN(GeneralizedRCNN):
    """Faster or Cascade R-CNN with super-resolved heads.

    In evaluation it is ``GeneralizedRCNN``: nothing that only supervises is run. In training only
    those losses come out that reach a parameter to be trained.

    Args:
        roi_heads: ``SuperResolvedRes5ROIHeads`` or one of its kind.
        reducer: makes the low-resolution images that super-resolution learns from, where it has
            a single ratio; None: bicubic interpolation, by each ratio.
        **kwargs: those of ``GeneralizedRCNN``.

    Raises:
        ValueError: the backbone does not give a map that sub features are pooled from, or the
            reducer is not for the ratio of super-resolution.
    """

    def __init__(
        self,
        *,
        roi_heads: SuperResolvedHeads,
        reducer: Resampler | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(roi_heads=roi_heads, **kwargs)
        rules, layers = roi_heads.super_resolution, self.backbone.output_shape()
        missing = [name for name in rules.sub_in_features if name not in layers]
        if missing:
            raise ValueError(
                f"super_resolution.sub_in_features: the backbone does not give {missing[0]!r}, "
                f"only {', '.join(layers)}: add it to the backbone's out_features"
            )
        if reducer is not None and rules.ratios != (reducer.factor,):
            raise ValueError(
                f"reducer: its factor is {reducer.factor}, super_resolution.ratios is "
                f"{[*rules.ratios]}: expected that factor alone, or no reducer (bicubic, by each)"
            )
        self.reducers = nn.ModuleDict(
            {str(r): Bicubic(r) if reducer is None else reducer for r in rules.ratios}
        )
        # No modules: their parameters are the backbone's.
        self._twins: dict[int, AtrousTwin] = {}

    def train(self, mode: bool = True) -> SuperResolvedRCNN:
        """Training or evaluation mode; twins are built for training alone.

        Raises:
            ValueError: a twin of this backbone cannot be built.
        """
        rules = self.roi_heads.super_resolution
        if mode and rules.supervision == "atrous":
            for ratio in rules.ratios:
                self._make_twin(ratio)
        return super().train(mode)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict]:
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
        return {name: loss for name, loss in losses.items() if loss.requires_grad}

    def _teaching_losses(
        self,
        batched_inputs: list[dict[str, Any]],
        images: ImageList,
        features: dict[str, Tensor],
        sampled: list[Instances],
    ) -> dict[str, Tensor]:
        """Losses of generator or discriminator, means over the ratios that this step teaches."""
        found = []
        for ratio in self.roi_heads.super_resolution.taught_ratios:
            reduced = self.reduced_features(batched_inputs, ratio)
            target = self.target_features(images, features, ratio)
            found.append(self.roi_heads.super_resolution_losses(reduced, target, sampled, ratio))
        return {name: sum(losses[name] for losses in found) / len(found) for name in found[0]}

    @torch.no_grad()
    def reduced_features(
        self, batched_inputs: list[dict[str, Any]], ratio: int
    ) -> dict[str, Tensor]:
        """The backbone's maps of the images reduced by the ratio; no statistics move."""
        images = [x["image"].to(self.device).float() / 255 for x in batched_inputs]
        reduced = [{"image": 255 * image} for image in self.reducers[str(ratio)](images)]
        with _in_eval_mode(self.backbone):
            return self.backbone(self.preprocess_image(reduced).tensor)

    def target_features(
        self, images: ImageList, features: dict[str, Tensor], ratio: int
    ) -> dict[str, Tensor]:
        """Maps of the full images that super-resolution follows.

        Args:
            images: the full images, normalised and padded.
            features: the backbone's maps of them, which naive supervision takes.
            ratio: of the twin.
        """
        if self.roi_heads.super_resolution.supervision == "naive":
            return features
        return self._make_twin(ratio)(images.tensor)

    def _make_twin(self, ratio: int) -> AtrousTwin:
        if ratio not in self._twins:
            self._twins[ratio] = AtrousTwin(self.backbone, ratio)
        return self._twins[ratio]


@contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Passes that must not move running statistics."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
