"""Faster R-CNN and Cascade R-CNN for graphs: proposals inside, scored boxes of each region out.

R regions, K classes. Boxes are XYXY in pixels of the network's image.
"""

from __future__ import annotations

from lowres_d2.deploy.export.candidates import Level, Selection, clipped, kept_by_class
from lowres_d2.deploy.export.forms.anchors import anchors_of, check_generator
from lowres_d2.deploy.export.forms.normalized import normalized
from lowres_d2.deploy.export.forms.pooled import pooled

import torch
import torch.nn.functional as F
from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN
from detectron2.modeling.proposal_generator.rpn import RPN
from detectron2.modeling.roi_heads.cascade_rcnn import CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.roi_heads import Res5ROIHeads, StandardROIHeads
from jaxtyping import Float
from torch import Tensor, nn

_HEADS = (StandardROIHeads, CascadeROIHeads, Res5ROIHeads)


class TwoStageForm(nn.Module):
    """Backbone, region proposal network with its NMS, and heads.

    Args:
        detector: with an ``RPN`` and one of Detectron2's box heads.

    Raises:
        ValueError: its parts are others.
    """

    OF = (GeneralizedRCNN,)
    needs_nms = True
    any_size = True
    levels = 1

    def __init__(self, detector: GeneralizedRCNN) -> None:
        super().__init__()
        heads, rpn = detector.roi_heads, detector.proposal_generator
        if type(heads) not in _HEADS:
            raise ValueError(f"{type(heads).__name__} are heads that have no form for export")
        if type(rpn) is not RPN:
            raise ValueError(f"{type(rpn).__name__} makes proposals that have no form for export")
        check_generator(rpn.anchor_generator)
        self.detector = detector
        # Asked here: a module that is being traced has another type.
        self.cascade = type(heads) is CascadeROIHeads
        self.res5 = type(heads) is Res5ROIHeads
        last = heads.box_predictor[-1] if self.cascade else heads.box_predictor
        most = last.test_topk_per_image
        self.selection = Selection(
            max_detections=most if most >= 0 else rpn.post_nms_topk[False] * last.num_classes,
            score_threshold=float(last.test_score_thresh),
            nms_threshold=float(last.test_nms_thresh),
            clip_first=True,
        )

    def forward(self, image: Float[Tensor, "C h w"]) -> list[Level]:
        """Boxes of the regions, and their scores."""
        size = image.shape[-2], image.shape[-1]
        maps = self.detector.backbone(normalized(image, self.detector))
        boxes = self._proposals(maps, size)
        if self.cascade:
            return [self._cascade(maps, boxes, size)]
        predictor = self.detector.roi_heads.box_predictor
        return [_scored(predictor, predictor(self._features(maps, boxes)), boxes)]

    def _proposals(
        self, maps: dict[str, Float[Tensor, "1 C _h _w"]], size: tuple[int, int]
    ) -> Float[Tensor, "R 4"]:
        rpn = self.detector.proposal_generator
        features = [maps[name] for name in rpn.in_features]
        objectness, deltas = rpn.rpn_head(features)
        anchors = anchors_of(rpn.anchor_generator, features)
        most = rpn.pre_nms_topk[False]
        boxes, logits, levels = [], [], []
        for index, (score, delta, places) in enumerate(
            zip(objectness, deltas, anchors, strict=True)
        ):
            flat = permute_to_N_HWA_K(score, 1)[0, :, 0]
            # As many on every image, see Selection; the infinite ones are dropped below.
            best, order = F.pad(flat, (0, most), value=-torch.inf).topk(most)
            order = order.clamp(max=flat.shape[0] - 1)
            delta = permute_to_N_HWA_K(delta, 4)[0]
            boxes.append(rpn.box2box_transform.apply_deltas(delta[order], places[order]))
            logits.append(best)
            levels.append(torch.full_like(order, index))
        found, scores, level = clipped(torch.cat(boxes), size), torch.cat(logits), torch.cat(levels)
        sides = found[:, 2:] - found[:, :2]
        usable = (sides > rpn.min_box_size).all(dim=1) & (scores > -torch.inf)
        rows = usable.nonzero()[:, 0]
        found, scores, level = found[rows], scores[rows], level[rows]
        kept = kept_by_class(found, scores, level, rpn.nms_thresh)
        return found[kept[: rpn.post_nms_topk[False]]]

    def _features(
        self, maps: dict[str, Tensor], boxes: Float[Tensor, "R 4"]
    ) -> Float[Tensor, "R ..."]:
        heads = self.detector.roi_heads
        features = [maps[name] for name in heads.in_features]
        if self.res5:
            return heads.res5(pooled(heads.pooler, features, boxes)).mean(dim=(2, 3))
        return heads.box_head(pooled(heads.box_pooler, features, boxes))

    def _cascade(
        self, maps: dict[str, Tensor], boxes: Float[Tensor, "R 4"], size: tuple[int, int]
    ) -> Level:
        heads = self.detector.roi_heads
        features = [maps[name] for name in heads.in_features]
        total = None
        for stage, predictor in enumerate(heads.box_predictor):
            if stage:
                boxes = clipped(boxes, size)
            regions = heads.box_head[stage](pooled(heads.box_pooler, features, boxes))
            boxes, scores = _scored(predictor, predictor(regions), boxes)
            total = scores if total is None else total + scores
        return boxes, total / len(heads.box_predictor)


def _scored(
    predictor: FastRCNNOutputLayers, predictions: tuple[Tensor, Tensor], boxes: Float[Tensor, "R 4"]
) -> Level:
    """Decoded boxes, a row or one for each class, and scores without the background's."""
    logits, deltas = predictions
    scores = logits.sigmoid() if predictor.use_sigmoid_ce else logits.softmax(dim=-1)
    decoded = predictor.box2box_transform.apply_deltas(deltas, boxes)
    if deltas.shape[1] > 4:
        decoded = decoded.unflatten(1, (-1, 4))
    return decoded, scores[:, :-1]
