"""Per-region computation: label and sample proposals, pool their features, predict.

Shapes: N images, R_i proposals of image i, R their sum; C x H x W a pooled region. Boxes are
XYXY in pixels of the batched image; class K (``num_classes``) is background.
"""

from __future__ import annotations

import torch
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.modeling.matcher import Matcher, match_boxes
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.proposal_utils import add_ground_truth_to_proposals
from detectron2.modeling.sampling import subsample_labels
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from detectron2.utils.registry import Registry
from torch import Tensor, nn

ROI_HEADS_REGISTRY = Registry("ROI_HEADS")
build_roi_heads = uncovered("build_roi_heads")  # builds from yacs configs
select_proposals_with_visible_keypoints = uncovered("select_proposals_with_visible_keypoints")


def select_foreground_proposals(
    proposals: list[Instances], bg_label: int
) -> tuple[list[Instances], list[Tensor]]:
    """Those proposals that are labelled as objects.

    Args:
        proposals: N labelled proposals (``gt_classes``).
        bg_label: label of the background; -1 (ignored) is excluded as well.

    Returns:
        N shorter proposals, and N masks (R_i,) that chose them.
    """
    masks = [(p.gt_classes != -1) & (p.gt_classes != bg_label) for p in proposals]
    return [p[mask] for p, mask in zip(proposals, masks, strict=True)], masks


class ROIHeads(nn.Module):
    """Base class: labels and samples proposals; subclasses compute on them.

    Args:
        num_classes: K, without background.
        batch_size_per_image: proposals sampled in each image for training.
        positive_fraction: largest share of objects among them.
        proposal_matcher: from the IoU matrix to matches and labels.
        proposal_append_gt: whether ground-truth boxes join the proposals in training.
    """

    from_config = uncovered("ROIHeads.from_config")

    def __init__(
        self,
        *,
        num_classes: int,
        batch_size_per_image: int,
        positive_fraction: float,
        proposal_matcher: Matcher,
        proposal_append_gt: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.proposal_matcher = proposal_matcher
        self.proposal_append_gt = proposal_append_gt

    def _sample_proposals(
        self, matched_idxs: Tensor, matched_labels: Tensor, gt_classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Choose the proposals of an image that the losses see.

        Args:
            matched_idxs: (R_i,) index of each proposal's object.
            matched_labels: (R_i,) 1 object, 0 background, -1 ignored.
            gt_classes: (M,) classes of the objects.

        Returns:
            Indices of the chosen proposals, objects first, and their classes.
        """
        if len(gt_classes):
            classes = gt_classes[matched_idxs]
            classes[matched_labels == 0] = self.num_classes
            classes[matched_labels == -1] = -1
        else:
            classes = torch.full_like(matched_idxs, self.num_classes)
        chosen = torch.cat(
            subsample_labels(
                classes, self.batch_size_per_image, self.positive_fraction, self.num_classes
            )
        )
        return chosen, classes[chosen]

    @torch.no_grad()
    def label_and_sample_proposals(
        self, proposals: list[Instances], targets: list[Instances]
    ) -> list[Instances]:
        """Match proposals with targets and keep a random, balanced part of them.

        Args:
            proposals: N proposals with ``proposal_boxes``.
            targets: N targets with ``gt_boxes``, ``gt_classes`` and perhaps other ``gt_*``.

        Returns:
            N sampled proposals with ``gt_classes`` and, where the image has objects, every
            ``gt_*`` field of the matched object (meaningless for background).
        """
        if self.proposal_append_gt:
            proposals = add_ground_truth_to_proposals(targets, proposals)
        sampled = []
        for proposed, target in zip(proposals, targets, strict=True):
            matches, labels = match_boxes(
                self.proposal_matcher, target.gt_boxes, proposed.proposal_boxes
            )
            chosen, classes = self._sample_proposals(matches, labels, target.gt_classes)
            kept = proposed[chosen]
            kept.gt_classes = classes
            if len(target):
                matched = matches[chosen]
                for name, value in target.get_fields().items():
                    if name.startswith("gt_") and not kept.has(name):
                        kept.set(name, value[matched])
            sampled.append(kept)

        background = [(p.gt_classes == self.num_classes).sum().item() for p in sampled]
        _log_samples("roi_head", sum(map(len, sampled)), sum(background), len(sampled))
        return sampled

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Predict on proposals.

        Args:
            images: the N padded images.
            features: feature maps by name.
            proposals: N proposals with ``proposal_boxes``.
            targets: N targets with ``gt_boxes`` and ``gt_classes``; needed in training.

        Returns:
            Detections (``pred_boxes``, ``scores``, ``pred_classes``) and an empty dict in
            evaluation; in training proposals (or an empty list) and losses.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """Add what is predicted for known boxes: nothing here, as masks are not covered.

        Args:
            features: feature maps by name.
            instances: N ``Instances`` with ``pred_boxes`` and ``pred_classes``.

        Returns:
            The same.
        """
        assert not self.training, "known boxes are for evaluation"
        assert all(found.has("pred_boxes") and found.has("pred_classes") for found in instances)
        return instances


def _log_samples(prefix: str, total: int, background: int, images: int) -> None:
    """Log how many objects and how much background an image brings into the losses."""
    if has_event_storage():
        storage = get_event_storage()
        storage.put_scalar(f"{prefix}/num_fg_samples", (total - background) / images)
        storage.put_scalar(f"{prefix}/num_bg_samples", background / images)


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeads(ROIHeads):
    """The C4 head: the last ResNet stage runs on each pooled region.

    Args:
        in_features: names of the feature maps to pool from.
        pooler: from feature maps and boxes to (R, C, H, W).
        res5: the stage, or its blocks.
        box_predictor: from averaged features to scores and deltas.
        mask_head: needs upstream Detectron2.
        **kwargs: those of `ROIHeads`.
    """

    _build_res5_block = uncovered("Res5ROIHeads._build_res5_block")

    def __init__(
        self,
        *,
        in_features: list[str],
        pooler: ROIPooler,
        res5: nn.Module | list[nn.Module],
        box_predictor: nn.Module,
        mask_head: None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if mask_head is not None:
            needs_upstream("Res5ROIHeads(mask_head=...)")
        self.in_features = in_features
        self.pooler = pooler
        self.res5 = nn.Sequential(*res5) if isinstance(res5, list | tuple) else res5
        self.box_predictor = box_predictor
        self.mask_on = False

    def _shared_roi_transform(self, features: list[Tensor], boxes: list[Boxes]) -> Tensor:
        return self.res5(self.pooler(features, boxes))

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """See `ROIHeads.forward`; in training the list of proposals is empty."""
        if self.training:
            assert targets is not None, "ROI heads train on targets"
            proposals = self.label_and_sample_proposals(proposals, targets)
        maps = [features[name] for name in self.in_features]
        regions = self._shared_roi_transform(maps, [p.proposal_boxes for p in proposals])
        predictions = self.box_predictor(regions.mean(dim=(2, 3)))
        if self.training:
            return [], self.box_predictor.losses(predictions, proposals)
        detections, _ = self.box_predictor.inference(predictions, proposals)
        return self.forward_with_given_boxes(features, detections), {}


@ROI_HEADS_REGISTRY.register()
class StandardROIHeads(ROIHeads):
    """Pools each region from the feature map of its scale; one head and one predictor.

    Args:
        box_in_features: names of the feature maps to pool from.
        box_pooler: from feature maps and boxes to (R, C, H, W).
        box_head: from pooled regions to features.
        box_predictor: from features to scores and deltas.
        mask_in_features: needs upstream Detectron2, as do the next five.
        mask_pooler: see above.
        mask_head: see above.
        keypoint_in_features: see above.
        keypoint_pooler: see above.
        keypoint_head: see above.
        train_on_pred_boxes: replace the proposals by the predicted boxes of the true classes once
            the box losses are computed.
        **kwargs: those of `ROIHeads`.
    """

    _init_box_head = uncovered("StandardROIHeads._init_box_head")
    _init_mask_head = uncovered("StandardROIHeads._init_mask_head")
    _init_keypoint_head = uncovered("StandardROIHeads._init_keypoint_head")

    def __init__(
        self,
        *,
        box_in_features: list[str],
        box_pooler: ROIPooler,
        box_head: nn.Module,
        box_predictor: nn.Module,
        mask_in_features: list[str] | None = None,
        mask_pooler: None = None,
        mask_head: None = None,
        keypoint_in_features: list[str] | None = None,
        keypoint_pooler: None = None,
        keypoint_head: None = None,
        train_on_pred_boxes: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if mask_in_features is not None or mask_head is not None or mask_pooler is not None:
            needs_upstream("StandardROIHeads(mask_head=...)")
        if keypoint_in_features is not None or keypoint_head is not None or keypoint_pooler:
            needs_upstream("StandardROIHeads(keypoint_head=...)")
        self.in_features = self.box_in_features = box_in_features
        self.box_pooler = box_pooler
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.mask_on = self.keypoint_on = False
        self.train_on_pred_boxes = train_on_pred_boxes

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """See `ROIHeads.forward`; in training the sampled proposals come back."""
        if self.training:
            assert targets is not None, "ROI heads train on targets"
            proposals = self.label_and_sample_proposals(proposals, targets)
            losses = self._forward_box(features, proposals)
            losses |= self._forward_mask(features, proposals)
            losses |= self._forward_keypoint(features, proposals)
            return proposals, losses
        detections = self._forward_box(features, proposals)
        return self.forward_with_given_boxes(features, detections), {}

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """Add what further branches predict for known boxes; see `ROIHeads`."""
        instances = super().forward_with_given_boxes(features, instances)
        instances = self._forward_mask(features, instances)
        return self._forward_keypoint(features, instances)

    def _forward_mask(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        """For subclasses with a further branch: losses in training, else the longer instances."""
        return {} if self.training else instances

    def _forward_keypoint(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        """As `_forward_mask`, after it."""
        return {} if self.training else instances

    def _forward_box(
        self, features: dict[str, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor] | list[Instances]:
        """The box branch: losses in training, detections in evaluation."""
        maps = [features[name] for name in self.box_in_features]
        regions = self.box_pooler(maps, [p.proposal_boxes for p in proposals])
        predictions = self.box_predictor(self.box_head(regions))
        if not self.training:
            return self.box_predictor.inference(predictions, proposals)[0]
        losses = self.box_predictor.losses(predictions, proposals)
        if self.train_on_pred_boxes:
            with torch.no_grad():
                boxes = self.box_predictor.predict_boxes_for_gt_classes(predictions, proposals)
            for proposed, predicted in zip(proposals, boxes, strict=True):
                proposed.proposal_boxes = Boxes(predicted)
        return losses
