"""Detectron2's ``Instances`` as ``Detections`` of supervision, and back.

    import supervision as sv
    from lowres_d2.interop.supervision_detections import to_supervision

    detections = to_supervision(detector(image), detector.class_names)
    sv.BoxAnnotator().annotate(image, detections)

It needs ``pip install 'lowres-d2[supervision]'``. Boxes are XYXY in pixels of the image in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

if TYPE_CHECKING:
    import supervision

NAME = "class_name"  # under which supervision's annotators look for the names


def to_supervision(instances: Instances, class_names: Sequence[str] = ()) -> supervision.Detections:
    """Detections, or ground truth, which has no confidence.

    Args:
        instances: of a detector (``pred_boxes``, ``scores``, ``pred_classes``), or ground truth
            (``gt_boxes``, ``gt_classes``).
        class_names: in the order of the labels; empty: the result has numbers only.

    Raises:
        ModuleNotFoundError: supervision is not installed.
        ValueError: the instances are neither, or a label has no name.
    """
    try:
        import supervision
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}: supervision is needed here: pip install 'lowres-d2[supervision]'",
            name=error.name,
        ) from None
    kind = next((kind for kind in ("pred", "gt") if instances.has(f"{kind}_boxes")), None)
    if kind is None:
        raise ValueError(
            f"instances have {', '.join(instances.get_fields()) or 'no fields'}: expected "
            "pred_boxes with scores and pred_classes, or gt_boxes with gt_classes"
        )
    labels = instances.get(f"{kind}_classes").numpy(force=True).astype(int)
    if len(class_names) and len(labels) and labels.max() >= len(class_names):
        raise ValueError(f"label {labels.max()}: class_names has {len(class_names)} names")
    data: dict[str, Any] = {}
    if len(class_names):
        data[NAME] = np.array([class_names[label] for label in labels], dtype=str)
    return supervision.Detections(
        xyxy=instances.get(f"{kind}_boxes").tensor.numpy(force=True).astype(np.float32),
        confidence=instances.scores.numpy(force=True) if kind == "pred" else None,
        class_id=labels,
        data=data,
    )


def from_supervision(detections: supervision.Detections, image_size: tuple[int, int]) -> Instances:
    """The instances of detections; of those without confidence as ground truth.

    Args:
        detections: with ``class_id``. Masks and tracks are left out.
        image_size: height and width of the image, which they do not know.

    Raises:
        ValueError: they have no classes.
    """
    if detections.class_id is None:
        raise ValueError("detections have no class_id: expected the label of each box")
    boxes = Boxes(torch.tensor(np.asarray(detections.xyxy), dtype=torch.float32))
    labels = torch.tensor(np.asarray(detections.class_id), dtype=torch.int64)
    if detections.confidence is None:
        return Instances(image_size, gt_boxes=boxes, gt_classes=labels)
    scores = torch.tensor(np.asarray(detections.confidence), dtype=torch.float32)
    return Instances(image_size, pred_boxes=boxes, scores=scores, pred_classes=labels)
