import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.checkpoint.c2_model_loading import (
    align_and_update_state_dicts,
    convert_basic_c2_names,
    convert_c2_detectron_names,
)

RPN = "proposal_generator.rpn_head"

BASIC = {
    "conv1_w": "stem.conv1.weight",
    "conv1_b": "stem.conv1.bias",
    "conv1_gn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_s": "stem.conv1.norm.weight",
    "res_conv1_bn_b": "stem.conv1.norm.bias",
    "res_conv1_bn_rm": "stem.conv1.norm.running_mean",
    "res_conv1_bn_riv": "stem.conv1.norm.running_var",
    "res2_0_branch1_w": "res2.0.shortcut.weight",
    "res2_0_branch1_bn_s": "res2.0.shortcut.norm.weight",
    "res4_22_branch2a_w": "res4.22.conv1.weight",
    "res4_22_branch2b_bn_b": "res4.22.conv2.norm.bias",
    "res5_2_branch2c_gn_s": "res5.2.conv3.norm.weight",
    "res5_2_branch2c_gn_b": "res5.2.conv3.norm.bias",
    "pred_w": "linear.weight",
    "pred_b": "linear.bias",
}
DETECTOR = {
    "conv_rpn_w": f"{RPN}.conv.weight",
    "conv_rpn_fpn2_b": f"{RPN}.conv.bias",
    "rpn_bbox_pred_fpn2_w": f"{RPN}.anchor_deltas.weight",
    "rpn_cls_logits_fpn2_b": f"{RPN}.objectness_logits.bias",
    "rpn_bbox_pred_b": f"{RPN}.anchor_deltas.bias",
    "rpn_cls_logits_w": f"{RPN}.objectness_logits.weight",
    "fc6_w": "box_head.fc1.weight",
    "fc7_b": "box_head.fc2.bias",
    "head_conv1_w": "box_head.conv1.weight",
    "head_conv4_gn_s": "box_head.conv4.norm.weight",
    "fpn_inner_res2_2_sum_lateral_w": "fpn_lateral2.weight",
    "fpn_inner_res5_2_sum_b": "fpn_lateral5.bias",
    "fpn_inner_res4_22_sum_lateral_gn_s": "fpn_lateral4.norm.weight",
    "fpn_res3_3_sum_w": "fpn_output3.weight",
    "fpn_res4_5_sum_gn_b": "fpn_output4.norm.bias",
    "cls_score_b": "cls_score.bias",
    "bbox_pred_w": "bbox_pred.weight",
}


@pytest.mark.parametrize("name", BASIC)
def test_backbone_names(name):
    assert convert_basic_c2_names([name]) == [BASIC[name]]


@pytest.mark.parametrize("name", [*DETECTOR, "res3_0_branch2a_w"])
def test_detector_names(name):
    expected = DETECTOR.get(name, "res3.0.conv1.weight")
    converted, originals = convert_c2_detectron_names({name: torch.ones(8, 1)})
    assert list(converted) == [expected]
    assert originals == {expected: name}


def test_background_goes_last_and_loses_its_boxes():
    scores, deltas = torch.arange(4.0)[:, None], torch.arange(16.0)[:, None]
    converted, _ = convert_c2_detectron_names({"cls_score_w": scores, "bbox_pred_w": deltas})
    assert converted["cls_score.weight"].flatten().tolist() == [1, 2, 3, 0]
    assert converted["bbox_pred.weight"].flatten().tolist() == list(range(4, 16))


def test_the_longest_suffix_wins_and_others_stay():
    model = {f"backbone.{name}": torch.zeros(2) for name in ("conv1.w", "res2.conv1.w")}
    checkpoint = {"conv1.w": torch.ones(2), "res2.conv1.w": torch.ones(2) * 2, "x": torch.ones(1)}
    aligned = align_and_update_state_dicts(model, checkpoint, c2_conversion=False)
    assert {name: value[0].item() for name, value in aligned.items()} == {
        "backbone.conv1.w": 1,
        "backbone.res2.conv1.w": 2,
        "x": 1,
    }


def test_a_part_of_a_name_is_no_match():
    aligned = align_and_update_state_dicts({"a.bconv": torch.zeros(1)}, {"conv": torch.ones(1)})
    assert list(aligned) == ["conv"]


def test_other_shapes_are_not_loaded_and_ambiguity_is_an_error():
    model = {"a.conv": torch.zeros(2), "b.conv": torch.zeros(2)}
    aligned = align_and_update_state_dicts({"a.conv": torch.zeros(2)}, {"conv": torch.ones(3)})
    assert "a.conv" not in aligned
    with pytest.raises(ValueError):
        align_and_update_state_dicts(model, {"conv": torch.ones(2)})
