"""One-to-one matching of predictions to objects by least total cost (DETR, Carion et al. 2020).

    cost(q, m) = 2 focal(q, class of m) + 5 |box(q) - box(m)|_1 + 2 (-GIoU(box(q), box(m)))

where focal is how much the focal loss of a logit grows when its target turns from 0 to 1. There
are more queries than objects: queries that no object gets are background.

Shapes: N images, Q queries, K classes, M objects (of one image). Boxes are cxcywh in units of
the image's width and height.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou


class HungarianMatcher:
    """Matches the predictions of each image to its objects.

    Args:
        class_cost: weight of the class, in the form of a focal loss.
        bbox_cost: weight of the L1 distance of normalised boxes.
        giou_cost: weight of the negative generalised IoU.
        alpha: share of the focal loss that positives have.
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
        self, logits: Tensor, boxes: Tensor, targets: Sequence[Mapping[str, Tensor]]
    ) -> list[tuple[Tensor, Tensor]]:
        """Match every image of a batch; costs cross from the device to the CPU once.

        Args:
            logits: (N, Q, K), before the sigmoid.
            boxes: (N, Q, 4).
            targets: a dict an image with ``labels`` (M,) and ``boxes`` (M, 4).

        Returns:
            For each image indices of min(Q, M) queries and of the objects they stand for, int64
            on the CPU, in order of the queries.

        Raises:
            FloatingPointError: a cost is not finite; the message says by whose fault.
        """
        costs = [
            self.costs(logits[i], boxes[i], target["labels"], target["boxes"])
            for i, target in enumerate(targets)
        ]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu()
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

    def costs(self, logits: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
        """Costs (Q, M) of one image's predictions (Q, K) and (Q, 4) for its objects."""
        logits, boxes, truth = logits.float(), boxes.float(), truth.float()
        probability = logits.sigmoid()
        as_object = self.alpha * (1 - probability) ** self.gamma * F.softplus(-logits)
        as_background = (1 - self.alpha) * probability**self.gamma * F.softplus(logits)
        overlap = generalized_box_iou(
            box_convert(boxes, "cxcywh", "xyxy"), box_convert(truth, "cxcywh", "xyxy")
        )
        return (
            self.class_cost * (as_object - as_background)[:, labels]
            + self.bbox_cost * torch.cdist(boxes, truth, p=1)
            - self.giou_cost * overlap
        )


def _describe_non_finite(
    logits: Tensor, boxes: Tensor, targets: Sequence[Mapping[str, Tensor]]
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
                    "are not finite: lower the learning rate or clip gradients, or mend the boxes"
                )
    return "matching: costs are not finite: a ground-truth box and a predicted box have no area"
