"""Cascade R-CNN (Cai and Vasconcelos 2018) on Faster R-CNN FPN: three heads, IoU 0.5, 0.6, 0.7."""

from copy import deepcopy

from detectron2.modeling.roi_heads import CascadeROIHeads

from .faster_rcnn_fpn import box_head, model, predictor, proposal_matcher

# One more level of nesting than in Faster R-CNN: a list of predictors.
predictor.num_classes = "${...num_classes}"
predictor.cls_agnostic_bbox_reg = True

heads = model.roi_heads
for single in ("box_head", "box_predictor", "proposal_matcher"):
    del heads[single]
heads._target_ = CascadeROIHeads
heads.box_heads = [deepcopy(box_head) for _ in range(3)]
heads.box_predictors = [deepcopy(predictor) for _ in range(3)]
heads.proposal_matchers = [deepcopy(proposal_matcher) for _ in range(3)]
for k, iou in enumerate((0.5, 0.6, 0.7)):
    heads.proposal_matchers[k].thresholds = [iou]
    # Ever finer: offsets count (k + 1) times as much.
    weights = [10.0 * (k + 1), 10.0 * (k + 1), 5.0 * (k + 1), 5.0 * (k + 1)]
    heads.box_predictors[k].box2box_transform.weights = weights
