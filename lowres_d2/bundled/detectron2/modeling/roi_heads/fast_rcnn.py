"""Classification and box regression of regions: Girshick, Fast R-CNN, arXiv:1504.08083, section 2.

Shapes: N images with R_i proposals each, R their sum; K classes, of which index K is background;
B box parameters (4). ``deltas`` are encoded boxes, (R, K B), or (R, B) when all classes share one.
Boxes are XYXY in pixels of the batched image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.layers import ShapeSpec, batched_nms, cat, cross_entropy, nonzero_tuple
from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

__all__ = ["FastRCNNOutputLayers", "fast_rcnn_inference"]


def fast_rcnn_inference(
    boxes: list[Tensor],
    scores: list[Tensor],
    image_shapes: list[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """Turn scored regions into detections, image by image.

    Args:
        boxes: N tensors (R_i, K B), or (R_i, B) when all classes share a box.
        scores: N tensors (R_i, K + 1) of probabilities.
        image_shapes: N times (height, width).
        score_thresh: a detection scores above it.
        nms_thresh: IoU above which the weaker of two detections of one class goes.
        topk_per_image: most detections an image keeps; negative for all.

    Returns:
        N ``Instances`` (``pred_boxes``, ``scores``, ``pred_classes``) in falling order, and for
        each detection of each image the index of its region among those that are finite.
    """
    found = [
        fast_rcnn_inference_single_image(*image, score_thresh, nms_thresh, topk_per_image)
        for image in zip(boxes, scores, image_shapes, strict=True)
    ]
    return [instances for instances, _ in found], [index for _, index in found]


def fast_rcnn_inference_single_image(
    boxes: Tensor,
    scores: Tensor,
    image_shape: tuple[int, int],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[Instances, Tensor]:
    """Of one image: see `fast_rcnn_inference`."""
    finite = boxes.isfinite().all(dim=1) & scores.isfinite().all(dim=1)
    boxes, scores = boxes[finite], scores[finite, :-1]
    passed = scores > score_thresh  # (R_i, K)
    region, label = nonzero_tuple(passed)
    # A class-agnostic box stands in column 0 for every class.
    shared = boxes.shape[1] == 4
    chosen = Boxes(boxes[region] if shared else boxes.unflatten(1, (-1, 4))[region, label])
    chosen.clip(image_shape)
    scores = scores[passed]

    keep = batched_nms(chosen.tensor, scores, label, nms_thresh)
    if topk_per_image >= 0:
        keep = keep[:topk_per_image]
    result = Instances(image_shape)
    result.pred_boxes = chosen[keep]
    result.scores = scores[keep]
    result.pred_classes = label[keep]
    return result, region[keep]


def _log_classification_stats(
    pred_logits: Tensor, gt_classes: Tensor, prefix: str = "fast_rcnn"
) -> None:
    """Log accuracy over all regions and over objects, and the share of objects that were missed."""
    if gt_classes.numel() == 0 or not has_event_storage():
        return
    background = pred_logits.shape[1] - 1
    predicted = pred_logits.argmax(dim=1)
    correct = predicted == gt_classes
    shares = {"cls_accuracy": correct.float().mean()}
    objects = (gt_classes >= 0) & (gt_classes < background)
    if objects.any():
        shares["fg_cls_accuracy"] = correct[objects].float().mean()
        shares["false_negative"] = (predicted[objects] == background).float().mean()
    for name, share in shares.items():
        get_event_storage().put_scalar(f"{prefix}/{name}", share.item())


class FastRCNNOutputLayers(nn.Module):
    """Two linear layers, scores and box deltas, with their losses and their inference.

    Args:
        input_shape: shape of a region's features, or their number.
        box2box_transform: encodes boxes relative to proposals.
        num_classes: K, without background.
        test_score_thresh: a detection scores above it.
        test_nms_thresh: IoU threshold of the suppression.
        test_topk_per_image: most detections of an image.
        cls_agnostic_bbox_reg: one box for all classes.
        smooth_l1_beta: where smooth L1 turns from quadratic to linear; 0 is L1.
        box_reg_loss_type: ``smooth_l1``, ``giou``, ``diou`` or ``ciou``.
        loss_weight: one factor for both losses, or one for each by name.
        use_fed_loss: needs upstream Detectron2.
        use_sigmoid_ce: a binary cross entropy for each class in place of softmax.
        get_fed_loss_cls_weights: needs upstream Detectron2.
        fed_loss_num_classes: used by the federated loss only.
    """

    from_config = uncovered("FastRCNNOutputLayers.from_config")
    get_fed_loss_classes = uncovered("FastRCNNOutputLayers.get_fed_loss_classes")

    def __init__(
        self,
        input_shape: ShapeSpec | int,
        *,
        box2box_transform: Box2BoxTransform,
        num_classes: int,
        test_score_thresh: float = 0.0,
        test_nms_thresh: float = 0.5,
        test_topk_per_image: int = 100,
        cls_agnostic_bbox_reg: bool = False,
        smooth_l1_beta: float = 0.0,
        box_reg_loss_type: str = "smooth_l1",
        loss_weight: float | dict[str, float] = 1.0,
        use_fed_loss: bool = False,
        use_sigmoid_ce: bool = False,
        get_fed_loss_cls_weights: object = None,
        fed_loss_num_classes: int = 50,
    ) -> None:
        super().__init__()
        if use_fed_loss:
            needs_upstream("FastRCNNOutputLayers(use_fed_loss=True)")
        if isinstance(input_shape, int):
            input_shape = ShapeSpec(channels=input_shape)
        features = input_shape.channels * (input_shape.width or 1) * (input_shape.height or 1)
        boxes = 1 if cls_agnostic_bbox_reg else num_classes
        self.num_classes = num_classes
        self.cls_score = nn.Linear(features, num_classes + 1)
        self.bbox_pred = nn.Linear(features, boxes * len(box2box_transform.weights))
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

        self.box2box_transform = box2box_transform
        self.test_score_thresh = test_score_thresh
        self.test_nms_thresh = test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.smooth_l1_beta = smooth_l1_beta
        self.box_reg_loss_type = box_reg_loss_type
        if not isinstance(loss_weight, dict):
            loss_weight = {"loss_cls": loss_weight, "loss_box_reg": loss_weight}
        self.loss_weight = loss_weight
        self.use_sigmoid_ce = use_sigmoid_ce
        self.use_fed_loss = use_fed_loss
        self.fed_loss_num_classes = fed_loss_num_classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From region features (R, ...) to scores (R, K + 1) before softmax, and deltas."""
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)

    def losses(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor]:
        """Compare predictions with the labels that were given to the proposals.

        Args:
            predictions: what `forward` returned for the proposals of all images.
            proposals: N labelled proposals with ``proposal_boxes``, ``gt_classes`` and, where an
                image has objects, ``gt_boxes``.

        Returns:
            ``loss_cls`` and ``loss_box_reg``, weighted.
        """
        scores, deltas = predictions
        if proposals:
            gt_classes = cat([p.gt_classes for p in proposals])
            boxes = cat([p.proposal_boxes.tensor for p in proposals])
            assert not boxes.requires_grad, "proposals must be constants"
            # Without objects an image has no gt_boxes, and none of its boxes is compared.
            gt_boxes = cat(
                [(p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes).tensor for p in proposals]
            )
        else:
            gt_classes = torch.empty(0, dtype=torch.int64, device=scores.device)
            boxes = gt_boxes = torch.empty(0, 4, device=deltas.device)
        _log_classification_stats(scores, gt_classes)
        if self.use_sigmoid_ce:
            loss_cls = self.sigmoid_cross_entropy_loss(scores, gt_classes)
        else:
            loss_cls = cross_entropy(scores, gt_classes, reduction="mean")
        losses = {
            "loss_cls": loss_cls,
            "loss_box_reg": self.box_reg_loss(boxes, gt_boxes, deltas, gt_classes),
        }
        return {name: loss * self.loss_weight.get(name, 1.0) for name, loss in losses.items()}

    def sigmoid_cross_entropy_loss(self, pred_class_logits: Tensor, gt_classes: Tensor) -> Tensor:
        """Binary cross entropy summed over classes and averaged over regions.

        Args:
            pred_class_logits: (R, K + 1); the background's column is not used.
            gt_classes: (R,) in 0..K; a region of background is negative for all classes.
        """
        logits = pred_class_logits[:, :-1]
        target = F.one_hot(gt_classes, self.num_classes + 1)[:, :-1].to(logits.dtype)
        total = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
        return total / max(len(gt_classes), 1)

    def box_reg_loss(
        self, proposal_boxes: Tensor, gt_boxes: Tensor, pred_deltas: Tensor, gt_classes: Tensor
    ) -> Tensor:
        """Box loss of the regions that are objects, divided by the number of all regions.

        Dividing by all regions, objects or not, gives each object the same weight whatever the
        number of objects in the batch.

        Args:
            proposal_boxes: (R, B).
            gt_boxes: (R, B).
            pred_deltas: (R, B) or (R, K B).
            gt_classes: (R,).
        """
        objects = (gt_classes >= 0) & (gt_classes < self.num_classes)
        # One level and one "image" of regions, each with its own anchor: the proposal.
        loss = _dense_box_regression_loss(
            [proposal_boxes],
            self.box2box_transform,
            [self._of_class(pred_deltas, gt_classes)[None]],
            [gt_boxes],
            objects[None],
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )
        return loss / max(gt_classes.numel(), 1.0)

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        """Detections and the index of each one's region; see `fast_rcnn_inference`."""
        return fast_rcnn_inference(
            self.predict_boxes(predictions, proposals),
            self.predict_probs(predictions, proposals),
            [p.image_size for p in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )

    def predict_boxes(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> list[Tensor]:
        """Decoded boxes of each image, N tensors (R_i, K B) or (R_i, B)."""
        if not proposals:
            return []
        boxes = cat([p.proposal_boxes.tensor for p in proposals])
        decoded = self.box2box_transform.apply_deltas(predictions[1], boxes)
        return list(decoded.split([len(p) for p in proposals]))

    def predict_boxes_for_gt_classes(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> list[Tensor]:
        """Decoded boxes of each region's true class, N tensors (R_i, B).

        A region of background takes the box of the last class.
        """
        boxes = self.predict_boxes(predictions, proposals)
        return [
            self._of_class(found, p.gt_classes) for found, p in zip(boxes, proposals, strict=True)
        ]

    def _of_class(self, boxes: Tensor, classes: Tensor) -> Tensor:
        """From boxes or deltas of all classes, or their shared one, to (R, B) of one class each."""
        by_class = boxes.unflatten(1, (-1, 4))
        if by_class.shape[1] == 1:
            return by_class[:, 0]
        row = torch.arange(len(classes), device=classes.device)
        return by_class[row, classes.clamp(0, self.num_classes - 1)]

    def predict_probs(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> list[Tensor]:
        """Class probabilities of each image, N tensors (R_i, K + 1)."""
        scores = predictions[0]
        probs = scores.sigmoid() if self.use_sigmoid_ce else scores.softmax(dim=-1)
        return list(probs.split([len(p) for p in proposals]))
