"""Losses of a detector with queries, each object of which is matched to one query.

    loss_class = 2 / B * sum over all logits of focal(logit, target)     (alpha 0.25, gamma 2)
    loss_bbox  = 5 / B * sum over matched pairs of |box - ground truth|_1
    loss_giou  = 2 / B * sum over matched pairs of 1 - GIoU(box, ground truth)

B is the mean number of objects per process, at least 1. Every decoder layer has its own matching
and its own losses. So do the encoder's proposals in the two-stage variant, with a single class.

Boxes are (x, y, width, height) around their centre, normalised by the image's size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher, check_one_for_each_image
from lowres_d2.modeling.deformable_detr.set_prediction import Outputs, Predictions, Target
from lowres_d2.modeling.loss_weight import check_loss_weight

import torch
import torch.distributed as dist
from detectron2.utils import comm
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss


class SetCriterion(nn.Module):
    """Weighted losses of all decoder layers after Hungarian matching.

    Args:
        num_classes: number K of classes, without background.
        matcher: assigns queries to objects.
        class_weight: weight of the focal loss.
        bbox_weight: weight of the L1 loss.
        giou_weight: weight of the generalised IoU loss.
        alpha: weight of positives in the focal loss; negatives have ``1 - alpha``.
        gamma: exponent of the focal loss.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    def __init__(
        self,
        num_classes: int,
        matcher: HungarianMatcher,
        class_weight: float = 2.0,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.matcher = matcher
        weights = {"class_weight": class_weight, "bbox_weight": bbox_weight}
        for key, weight in (weights | {"giou_weight": giou_weight}).items():
            check_loss_weight(key, weight)
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, outputs: Outputs, targets: Sequence[Target]) -> dict[str, Float[Tensor, ""]]:
        """Losses by name, already weighted.

        Args:
            outputs: predictions of the last layer; optionally those of earlier layers and of the
                encoder, which has its own number of queries.
            targets: ground truth of each image.

        Returns:
            ``loss_class``, ``loss_bbox`` and ``loss_giou`` of the last layer; with the suffixes
            ``_0``, ``_1`` ... of earlier layers, and with ``_enc`` of the encoder.

        Raises:
            ValueError: there is not one target for each image, or a label is not in the range of
                ``num_classes``.
            FloatingPointError: predictions or ground truth are non-finite.
        """
        check_one_for_each_image(outputs["pred_logits"], targets)
        self._check_labels(targets)
        normalizer = _mean_over_processes(sum(len(t["labels"]) for t in targets), outputs)
        auxiliary = list(outputs.get("aux_outputs", ()))
        suffixes = [f"_{i}" for i in range(len(auxiliary))] + [""]
        losses = self._losses([*auxiliary, outputs], suffixes, targets, normalizer)
        if "enc_outputs" in outputs:
            # Proposals only tell objects from background: every object is of the first class.
            objects = [{**t, "labels": torch.zeros_like(t["labels"])} for t in targets]
            losses |= self._losses([outputs["enc_outputs"]], ["_enc"], objects, normalizer)
        return losses

    def _losses(
        self,
        layers: Sequence[Predictions],
        suffixes: Sequence[str],
        targets: Sequence[Target],
        normalizer: Float[Tensor, ""],
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of layers with equal shapes, matched and computed all at once."""
        # float32 under autocast, too: in float16 a normalised area of 1e-5 is subnormal.
        logits = torch.cat([layer["pred_logits"] for layer in layers]).float()  # (layers N, Q, K)
        boxes = torch.cat([layer["pred_boxes"] for layer in layers]).float()  # (layers N, Q, 4)
        image, query, chosen = self._match(logits, boxes, targets, len(layers))  # each (pairs,)
        labels = torch.cat([t["labels"] for t in targets])[chosen]  # (pairs,)
        gt_boxes = torch.cat([t["boxes"] for t in targets]).float()[chosen]  # (pairs, 4)
        matched = boxes[image, query]  # (pairs, 4)

        one_hot = torch.zeros_like(logits)
        one_hot[image, query, labels] = 1
        # Not reduced yet: the losses of different layers stay apart.
        focal = sigmoid_focal_loss(logits, one_hot, self.alpha, self.gamma, reduction="none")
        weighted = {
            "class": self.class_weight * focal,
            "bbox": self.bbox_weight * (matched - gt_boxes).abs(),
            "giou": self.giou_weight * _giou_loss(matched, gt_boxes),
        }
        # All layers have the same number of logits and of pairs, so each layer is one chunk.
        return {
            # Sums over the number of objects: in a mean over queries background would dominate.
            f"loss_{name}{suffix}": chunk.sum() / normalizer
            for name, values in weighted.items()
            for suffix, chunk in zip(suffixes, values.chunk(len(layers)), strict=True)
        }

    def _match(
        self,
        logits: Float[Tensor, "layers_images Q K"],
        boxes: Float[Tensor, "layers_images Q 4"],
        targets: Sequence[Target],
        layers: int,
    ) -> Int[Tensor, "3 pairs"]:
        """Matched pairs: row of ``logits``, query, and object among those of the whole batch."""
        pairs = self.matcher(logits.detach(), boxes.detach(), [*targets] * layers)
        # Index of each image's first object among those of the batch.
        starts = list(itertools.accumulate((len(t["labels"]) for t in targets), initial=0))[:-1]
        found = [
            torch.stack((torch.full_like(queries, index), queries, objects + start))
            for index, ((queries, objects), start) in enumerate(
                zip(pairs, starts * layers, strict=True)
            )
        ]
        # One transfer for the indices of all images and layers.
        return torch.cat(found, dim=1).to(logits.device)

    def _check_labels(self, targets: Sequence[Target]) -> None:
        # On a GPU a label out of range would end in a device-side assertion without its value.
        labels = torch.cat([t["labels"] for t in targets])
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ValueError(
                f"ground truth has class {int(labels.max())}, the detector has num_classes="
                f"{self.num_classes} (0 to {self.num_classes - 1}): set num_classes to the data "
                "set's number of classes"
            )


def _giou_loss(
    boxes: Float[Tensor, "pairs 4"], gt_boxes: Float[Tensor, "pairs 4"]
) -> Float[Tensor, " pairs"]:
    # The default eps, 1e-7, is no longer small beside the normalised area of a tiny box (1e-5).
    return generalized_box_iou_loss(
        box_convert(boxes, "cxcywh", "xyxy"), box_convert(gt_boxes, "cxcywh", "xyxy"), eps=1e-12
    )


def _mean_over_processes(count: int, outputs: Outputs) -> Float[Tensor, ""]:
    # DDP averages gradients over processes, so each divides by the mean count, not by its own.
    mean = torch.tensor(float(count), device=outputs["pred_logits"].device)
    if comm.get_world_size() > 1:
        dist.all_reduce(mean)
    return (mean / comm.get_world_size()).clamp(min=1)
