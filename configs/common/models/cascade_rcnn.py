"""Cascade R-CNN (Cai and Vasconcelos 2018) on Faster R-CNN FPN: three heads, IoU 0.5, 0.6, 0.7."""

from copy import deepcopy

from detectron2.modeling.roi_heads import CascadeROIHeads

from .faster_rcnn_fpn import model

heads = model.roi_heads
heads._target_ = CascadeROIHeads

# One more level of nesting than in Faster R-CNN: a list of predictors.
heads.box_predictor.num_classes = "${...num_classes}"
# One box for all classes, from which the next head starts.
heads.box_predictor.cls_agnostic_bbox_reg = True

for several, single in (
    ("box_heads", "box_head"),
    ("box_predictors", "box_predictor"),
    ("proposal_matchers", "proposal_matcher"),
):
    heads[several] = [deepcopy(heads[single]) for _ in range(3)]
    del heads[single]

for k, iou in enumerate((0.5, 0.6, 0.7)):
    heads.proposal_matchers[k].thresholds = [iou]
    # Finer with each head: offsets have (k + 1) times the weight.
    finer = [(k + 1) * weight for weight in heads.box_predictors[k].box2box_transform.weights]
    heads.box_predictors[k].box2box_transform.weights = finer
