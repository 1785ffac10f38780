"""Two-stage detectors: proposals, then per-region heads. Also proposals alone.

Shapes: N images of C channels (those of ``pixel_mean``). Inside, boxes are XYXY in pixels of the
network's input; what `forward` returns in evaluation is scaled to each input's ``height`` and
``width``.
"""

from __future__ import annotations

import numpy as np
import torch
from detectron2._uncovered import uncovered
from detectron2.layers import move_device_like
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.meta_arch.build import META_ARCH_REGISTRY
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

__all__ = ["GeneralizedRCNN", "ProposalNetwork"]

# Proposals drawn by `visualize_training`: more hide the image.
MAX_DRAWN_PROPOSALS = 20


class _ProposalDetector(nn.Module):
    """What both meta-architectures share: the parts up to the proposals."""

    def __init__(
        self,
        backbone: Backbone,
        proposal_generator: nn.Module | None,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
    ) -> None:
        super().__init__()
        if len(pixel_mean) != len(pixel_std):
            raise ValueError(
                f"pixel_mean has {len(pixel_mean)} and pixel_std {len(pixel_std)} channels"
            )
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def _move_to_current_device(self, x: Tensor) -> Tensor:
        return move_device_like(x, self.pixel_mean)

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalize the images of the inputs and pad them into one batch."""
        images = [self._move_to_current_device(entry["image"]) for entry in batched_inputs]
        return ImageList.from_tensors(
            [(image - self.pixel_mean) / self.pixel_std for image in images],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints,
        )

    def _targets(self, batched_inputs: list[dict]) -> list[Instances] | None:
        if "instances" not in batched_inputs[0]:
            return None
        return [entry["instances"].to(self.device) for entry in batched_inputs]

    def _propose(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        batched_inputs: list[dict],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Proposals and their losses; without a generator they come with the inputs."""
        if self.proposal_generator is not None:
            return self.proposal_generator(images, features, targets)
        assert "proposals" in batched_inputs[0], (
            "a model without a proposal generator needs inputs with 'proposals'"
        )
        return [entry["proposals"].to(self.device) for entry in batched_inputs], {}


@META_ARCH_REGISTRY.register()
class GeneralizedRCNN(_ProposalDetector):
    """Backbone, proposal generator, and heads on the proposed regions.

    Args:
        backbone: from (N, C, H, W) to feature maps by name.
        proposal_generator: like `RPN`; None where the inputs bring proposals.
        roi_heads: like `ROIHeads`.
        pixel_mean: of each channel, subtracted from the pixels.
        pixel_std: of each channel, divides the pixels.
        input_format: order of the channels, for drawing only.
        vis_period: draw proposals each so many iterations; 0 for never.
    """

    from_config = uncovered("GeneralizedRCNN.from_config")

    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: nn.Module | None,
        roi_heads: nn.Module,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
        input_format: str | None = None,
        vis_period: int = 0,
    ) -> None:
        super().__init__(backbone, proposal_generator, pixel_mean, pixel_std)
        if vis_period > 0 and input_format is None:
            raise ValueError("vis_period: drawing needs input_format, the order of the channels")
        self.roi_heads = roi_heads
        self.input_format = input_format
        self.vis_period = vis_period

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses in training, detections in evaluation.

        Args:
            batched_inputs: N dicts with ``image`` (C, H, W) in 0..255, in training ``instances``
                (``gt_boxes``, ``gt_classes``), optionally ``proposals``, and ``height`` and
                ``width``, the size in which detections are wanted.

        Returns:
            A dict of losses, or N dicts with ``instances`` (``pred_boxes``, ``scores``,
            ``pred_classes``).
        """
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        targets = self._targets(batched_inputs)
        features = self.backbone(images.tensor)
        proposals, proposal_losses = self._propose(images, features, batched_inputs, targets)
        _, detector_losses = self.roi_heads(images, features, proposals, targets)
        if self.vis_period > 0 and has_event_storage():
            storage = get_event_storage()
            if storage.iter % self.vis_period == 0:
                self.visualize_training(batched_inputs, proposals)
        return {**detector_losses, **proposal_losses}

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict] | list[Instances]:
        """Detect on the inputs, or add predictions to known boxes.

        Args:
            batched_inputs: as for `forward`.
            detected_instances: N ``Instances`` with ``pred_boxes`` and ``pred_classes`` in the
                frame of the network's input; then no boxes are searched.
            do_postprocess: scale to ``height`` and ``width``.

        Returns:
            As `forward`; without post-processing the N bare ``Instances``.
        """
        assert not self.training, "inference in training mode: call eval() first"
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        if detected_instances is None:
            proposals, _ = self._propose(images, features, batched_inputs)
            results, _ = self.roi_heads(images, features, proposals, None)
        else:
            known = [found.to(self.device) for found in detected_instances]
            results = self.roi_heads.forward_with_given_boxes(features, known)
        if not do_postprocess:
            return results
        return self._postprocess(results, batched_inputs, images.image_sizes)

    @staticmethod
    def _postprocess(
        instances: list[Instances],
        batched_inputs: list[dict],
        image_sizes: list[tuple[int, int]],
    ) -> list[dict]:
        """Scale detections to the size that each input asks for."""
        return _rescaled("instances", instances, batched_inputs, image_sizes)

    def visualize_training(self, batched_inputs: list[dict], proposals: list[Instances]) -> None:
        """Log the first image twice: with its ground truth, and with its best proposals."""
        from detectron2.data.detection_utils import convert_image_to_rgb
        from detectron2.utils.visualizer import Visualizer

        entry, proposed = batched_inputs[0], proposals[0]
        image = convert_image_to_rgb(entry["image"].permute(1, 2, 0), self.input_format)
        best = proposed.proposal_boxes.tensor[:MAX_DRAWN_PROPOSALS].detach().cpu().numpy()
        panels = []
        for boxes in (entry["instances"].gt_boxes, best):
            drawing = Visualizer(image, None).overlay_instances(boxes=boxes)
            panels.append(drawing.get_image())
        side_by_side = np.concatenate(panels, axis=1).transpose(2, 0, 1)
        name = "Left: GT bounding boxes;  Right: Predicted proposals"
        get_event_storage().put_image(name, side_by_side)


@META_ARCH_REGISTRY.register()
class ProposalNetwork(_ProposalDetector):
    """Backbone and proposal generator alone.

    Args:
        backbone: from (N, C, H, W) to feature maps by name.
        proposal_generator: like `RPN`.
        pixel_mean: of each channel, subtracted from the pixels.
        pixel_std: of each channel, divides the pixels.
    """

    from_config = uncovered("ProposalNetwork.from_config")

    def __init__(
        self,
        *,
        backbone: Backbone,
        proposal_generator: nn.Module,
        pixel_mean: tuple[float, ...],
        pixel_std: tuple[float, ...],
    ) -> None:
        super().__init__(backbone, proposal_generator, pixel_mean, pixel_std)

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses in training; in evaluation N dicts with ``proposals``, scaled like detections.

        Args:
            batched_inputs: as for `GeneralizedRCNN.forward`.
        """
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        targets = self._targets(batched_inputs)
        proposals, losses = self._propose(images, features, batched_inputs, targets)
        if self.training:
            return losses
        return _rescaled("proposals", proposals, batched_inputs, images.image_sizes)


def _rescaled(
    key: str,
    instances: list[Instances],
    batched_inputs: list[dict],
    image_sizes: list[tuple[int, int]],
) -> list[dict]:
    results = []
    for found, entry, (height, width) in zip(instances, batched_inputs, image_sizes, strict=True):
        size = entry.get("height", height), entry.get("width", width)
        results.append({key: detector_postprocess(found, *size)})
    return results
