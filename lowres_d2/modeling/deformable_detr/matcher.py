"""One-to-one matching of predictions to objects by least total cost (DETR, Carion et al. 2020).

    cost(q, m) = 2 focal(q, class of m) + 5 |box(q) - box(m)|_1 + 2 (-GIoU(box(q), box(m)))

where focal is the focal loss of a logit with target 1 minus that with target 0. There are more
queries than objects; queries without an object are background.

Boxes are (x, y, width, height) around their centre, normalised by the image's size.
"""

from __future__ import annotations

from collections.abc import Sequence

from lowres_d2.modeling.deformable_detr.set_prediction import Target

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou


class HungarianMatcher:
    """Matches the predictions of each image to its objects.

    Args:
        class_cost: weight of the class, in the form of a focal loss.
        bbox_cost: weight of the L1 distance of normalised boxes.
        giou_cost: weight of the negative generalised IoU.
        alpha: weight of positives in the focal loss; negatives have ``1 - alpha``.
        gamma: exponent of the focal loss.
    """

    def __init__(
        self,
        class_cost: float = 2.0,
        bbox_cost: float = 5.0,
        giou_cost: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        self.class_cost = class_cost
        self.bbox_cost = bbox_cost
        self.giou_cost = giou_cost
        self.alpha = alpha
        self.gamma = gamma

    @torch.no_grad()
    def __call__(
        self,
        logits: Float[Tensor, "N Q K"],
        boxes: Float[Tensor, "N Q 4"],
        targets: Sequence[Target],
    ) -> list[tuple[Int[Tensor, " _pairs"], Int[Tensor, " _pairs"]]]:
        """Match every image of a batch; the costs are copied to the CPU once.

        Args:
            logits: class logits, before the sigmoid.
            boxes: predicted boxes.
            targets: ground truth of each image.

        Returns:
            For each image the indices of min(Q, M) queries and of their objects, on the CPU, in
            ascending order of the queries.

        Raises:
            ValueError: there is not one target for each image.
            FloatingPointError: a cost is non-finite; the message names predictions or ground
                truth as its origin.
        """
        from scipy.optimize import linear_sum_assignment  # slow: other detectors do without it

        check_one_for_each_image(logits, targets)
        costs = [
            self.costs(logits[i], boxes[i], target["labels"], target["boxes"])
            for i, target in enumerate(targets)
        ]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
        # scipy would only say that a matrix has invalid entries.
        if not flat.isfinite().all():
            raise FloatingPointError(_describe_non_finite(logits, boxes, targets))
        pieces = flat.split([cost.numel() for cost in costs])
        pairs = [
            linear_sum_assignment(piece.view(cost.shape).numpy())
            for piece, cost in zip(pieces, costs, strict=True)
        ]
        return [
            (torch.from_numpy(queries), torch.from_numpy(objects)) for queries, objects in pairs
        ]

    def costs(
        self,
        logits: Float[Tensor, "Q K"],
        boxes: Float[Tensor, "Q 4"],
        labels: Int[Tensor, " M"],
        gt_boxes: Float[Tensor, "M 4"],
    ) -> Float[Tensor, "Q M"]:
        """Cost of each pair of query and object of one image."""
        # float32 for the same reason as in the criterion: areas of tiny boxes.
        logits, boxes, gt_boxes = logits.float(), boxes.float(), gt_boxes.float()
        probability = logits.sigmoid()
        # softplus(-x) is -log(sigmoid(x)) for any x; the authors add 1e-8 in the logarithm.
        as_object = self.alpha * (1 - probability) ** self.gamma * F.softplus(-logits)
        as_background = (1 - self.alpha) * probability**self.gamma * F.softplus(logits)
        overlap = generalized_box_iou(
            box_convert(boxes, "cxcywh", "xyxy"), box_convert(gt_boxes, "cxcywh", "xyxy")
        )
        return (
            self.class_cost * (as_object - as_background)[:, labels]  # (Q, M)
            + self.bbox_cost * torch.cdist(boxes, gt_boxes, p=1)
            - self.giou_cost * overlap
        )


def check_one_for_each_image(
    predictions: Float[Tensor, "N Q _"], targets: Sequence[Target]
) -> None:
    """Raise unless there is one target for each image: others would be left out, or mismatched."""
    if len(targets) != len(predictions):
        raise ValueError(
            f"{len(targets)} targets for predictions of {len(predictions)} images: expected one "
            "for each image"
        )


def _describe_non_finite(
    logits: Float[Tensor, "N Q K"],
    boxes: Float[Tensor, "N Q 4"],
    targets: Sequence[Target],
) -> str:
    for index, target in enumerate(targets):
        found = {
            "predicted logits": logits[index],
            "predicted boxes": boxes[index],
            "ground-truth boxes": target["boxes"],
        }
        for name, values in found.items():
            bad = int((~values.isfinite()).sum())
            if bad:
                return (
                    f"matching: {bad} of {values.numel()} {name} of image {index} of the batch "
                    "are non-finite: lower the learning rate, clip gradients, or correct the "
                    "ground truth"
                )
    return (
        "matching: costs are non-finite: a ground-truth box and a predicted box both have no area: "
        "drop such ground truth"
    )
