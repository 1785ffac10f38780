"""Two-stage detectors whose heads super-resolve small proposals: the passes that training needs.

"Better to Follow", ICCV 2019, Fig. 4: the backbone sees the picture and, reduced, the picture
again; its atrous twin, which shares its parameters, sees the picture with twice the receptive
field. Shapes: N pictures (C, H, W). Boxes are XYXY in pixels of the network's input.
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
from detectron2.structures import ImageList
from torch import Tensor, nn


class SuperResolvedRCNN(GeneralizedRCNN):
    """Faster or Cascade R-CNN with super-resolved heads.

    In evaluation it is ``GeneralizedRCNN``: nothing that only supervises is run. In training only
    those losses come out that reach a parameter to be trained.

    Args:
        roi_heads: ``SuperResolvedRes5ROIHeads`` or one of its kind.
        reducer: makes the low-resolution pictures that super-resolution learns from; by half where
            it is None, as in the paper.
        **kwargs: those of ``GeneralizedRCNN``.

    Raises:
        ValueError: the backbone does not give a map that sub features are pooled from.
    """

    def __init__(
        self,
        *,
        roi_heads: SuperResolvedHeads,
        reducer: Resampler | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(roi_heads=roi_heads, **kwargs)
        layers, wanted = self.backbone.output_shape(), roi_heads.super_resolution.sub_in_features
        missing = [name for name in wanted if name not in layers]
        if missing:
            raise ValueError(
                f"super_resolution.sub_in_features: the backbone does not give {missing[0]!r}, "
                f"only {', '.join(layers)}: add it to the backbone's out_features"
            )
        self.reducer = Bicubic(2) if reducer is None else reducer
        # No module: its parameters are the backbone's.
        self._twin: AtrousTwin | None = None

    def train(self, mode: bool = True) -> SuperResolvedRCNN:
        """Training or evaluation mode; the twin is built for training alone.

        Raises:
            ValueError: the twin of this backbone cannot be built.
        """
        if mode and self.roi_heads.super_resolution.supervision == "atrous":
            self._make_twin()
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
            reduced = self.reduced_features(batched_inputs)
            target = self.target_features(images, features)
            factor = float(self.reducer.factor)
            losses |= self.roi_heads.super_resolution_losses(reduced, target, sampled, factor)
        return {name: loss for name, loss in losses.items() if loss.requires_grad}

    @torch.no_grad()
    def reduced_features(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The backbone's maps of the pictures that the reducer makes; no statistics move."""
        pictures = [x["image"].to(self.device).float() / 255 for x in batched_inputs]
        reduced = [{"image": 255 * picture} for picture in self.reducer(pictures)]
        with _in_eval_mode(self.backbone):
            return self.backbone(self.preprocess_image(reduced).tensor)

    def target_features(self, images: ImageList, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Maps of the full pictures that super-resolution follows.

        Args:
            images: the full pictures, normalised and padded.
            features: the backbone's maps of them, which naive supervision takes.
        """
        if self.roi_heads.super_resolution.supervision == "naive":
            return features
        return self._make_twin()(images.tensor)

    def _make_twin(self) -> AtrousTwin:
        if self._twin is None:
            self._twin = AtrousTwin(self.backbone)
        return self._twin


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
