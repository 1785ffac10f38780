"""FCOS and RetinaNet for graphs: scores and decoded boxes of all cells."""

from __future__ import annotations

from lowres_d2.deploy.export.candidates import Level, Selection
from lowres_d2.deploy.export.forms.anchors import anchors_of, check_generator
from lowres_d2.deploy.export.forms.normalized import normalized

import torch
from detectron2.modeling.meta_arch.dense_detector import DenseDetector, permute_to_N_HWA_K
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from jaxtyping import Float
from torch import Tensor, nn

# What a subclass may change without the form being another one: only training.
_INFERENCE = ("forward_inference", "inference_single_image", "_decode_multi_level_predictions")


class DenseForm(nn.Module):
    """Backbone, head and decoding.

    Args:
        detector: FCOS or RetinaNet.

    Raises:
        ValueError: it has an inference of its own.
    """

    OF = (FCOS, RetinaNet)
    needs_nms = False
    any_size = True

    def __init__(self, detector: DenseDetector) -> None:
        super().__init__()
        kind = next(kind for kind in self.OF if isinstance(detector, kind))
        for name in _INFERENCE:
            if getattr(type(detector), name) is not getattr(kind, name):
                raise ValueError(
                    f"{type(detector).__name__} has a {name} of its own, which no form knows"
                )
        check_generator(detector.anchor_generator)
        self.detector = detector
        self.levels = len(detector.head_in_features)
        self.selection = Selection(
            max_detections=detector.max_detections_per_image,
            score_threshold=float(detector.test_score_thresh),
            per_level=detector.test_topk_candidates,
            nms_threshold=float(detector.test_nms_thresh),
        )

    def forward(self, image: Float[Tensor, "C h w"]) -> list[Level]:
        """Candidates of each level of the pyramid."""
        maps = self.detector.backbone(normalized(image, self.detector))
        features = [maps[name] for name in self.detector.head_in_features]
        logits, deltas, *centerness = self.detector.head(features)
        anchors = anchors_of(self.detector.anchor_generator, features)
        apply_deltas = self.detector.box2box_transform.apply_deltas
        scores = [_cells(level, self.detector.num_classes).sigmoid() for level in logits]
        for centers in centerness:  # FCOS has it
            pairs = zip(scores, centers, strict=True)
            scores = [torch.sqrt(score * _cells(center, 1).sigmoid()) for score, center in pairs]
        boxes = [
            apply_deltas(_cells(x, 4), place) for x, place in zip(deltas, anchors, strict=True)
        ]
        return list(zip(boxes, scores, strict=True))


def _cells(level: Float[Tensor, "1 _channels h w"], values: int) -> Float[Tensor, "S values"]:
    return permute_to_N_HWA_K(level, values)[0]
