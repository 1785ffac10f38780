"""Methods that subclasses of Detectron2's parts override or call take part in the computation."""

from __future__ import annotations

import lowres_d2

import pytest
import torch
from detectron2.data import DatasetMapper
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN, ProposalNetwork
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    ROIHeads,
    StandardROIHeads,
)
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import nn

SIZE, K, CHANNELS, STRIDE = (64, 96), 3, 4, 16
TRANSFORM = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
only_bundled = pytest.mark.skipif(
    lowres_d2.detectron2_provider() == "upstream", reason="upstream Detectron2 covers it"
)


class Shifted(RPN):
    """Decodes every box 3 px further right."""

    def _decode_proposals(self, anchors, pred_anchor_deltas):
        shift = torch.tensor([3.0, 0.0, 3.0, 0.0])
        return [boxes + shift for boxes in super()._decode_proposals(anchors, pred_anchor_deltas)]


class Doubled(DefaultAnchorGenerator):
    """Takes every anchor twice as large as it is told."""

    def _calculate_anchors(self, sizes, aspect_ratios):
        return super()._calculate_anchors(
            [[2 * s for s in level] for level in sizes], aspect_ratios
        )


class Bright(DefaultAnchorGenerator):
    """Moves the anchors by what the features hold."""

    def forward(self, features):
        return [Boxes(b.tensor + features[0].mean().detach()) for b in super().forward(features)]


def anchors(kind=DefaultAnchorGenerator):
    return kind(sizes=[[16, 32]], aspect_ratios=[0.5, 1.0], strides=[STRIDE])


def rpn(kind=RPN) -> RPN:
    torch.manual_seed(0)
    generator = anchors()
    return kind(
        in_features=["p4"],
        head=StandardRPNHead(in_channels=CHANNELS, num_anchors=generator.num_anchors[0]),
        anchor_generator=generator,
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=TRANSFORM,
        batch_size_per_image=8,
        positive_fraction=0.5,
        pre_nms_topk=(40, 20),
        post_nms_topk=(10, 8),
        nms_thresh=1.0,
    ).eval()


def features(images: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = SIZE[0] // STRIDE, SIZE[1] // STRIDE
    return {"p4": torch.randn(images, CHANNELS, *size, generator=generator)}


def image_list(images: int = 2) -> ImageList:
    return ImageList(torch.zeros(images, 3, *SIZE), [SIZE] * images)


def targets() -> list[Instances]:
    boxes = Boxes(torch.tensor([[10.0, 8.0, 40.0, 30.0], [50.0, 20.0, 90.0, 60.0]]))
    return [Instances(SIZE, gt_boxes=boxes, gt_classes=torch.tensor([0, 2])) for _ in range(2)]


def test_proposals_come_from_the_decoding_of_the_subclass():
    plain, _ = rpn()(image_list(), features())
    shifted, _ = rpn(Shifted)(image_list(), features())
    for before, after in zip(plain, shifted, strict=True):
        expected = Boxes(before.proposal_boxes.tensor + torch.tensor([3.0, 0.0, 3.0, 0.0]))
        expected.clip(SIZE)
        inside = (before.proposal_boxes.tensor[:, 0] > 0) & (expected.tensor[:, 2] < SIZE[1])
        assert inside.any()
        torch.testing.assert_close(
            after.proposal_boxes.tensor[inside], expected.tensor[inside], rtol=0, atol=1e-4
        )


def test_all_anchors_of_all_images_are_decoded():
    boxes = [Boxes(torch.rand(n, 4) * 20 + torch.tensor([0.0, 0.0, 30.0, 30.0])) for n in (5, 3)]
    deltas = [torch.randn(2, n, 4) * 0.3 for n in (5, 3)]
    decoded = rpn()._decode_proposals(boxes, deltas)
    for level, delta, found in zip(boxes, deltas, decoded, strict=True):
        expected = [TRANSFORM.apply_deltas(d, level.tensor) for d in delta]
        torch.testing.assert_close(found, torch.stack(expected))


def test_anchors_come_from_the_calculation_of_the_subclass():
    expected = anchors().generate_cell_anchors([32, 64], [0.5, 1.0])
    torch.testing.assert_close(next(iter(anchors(Doubled).cell_anchors)), expected)


class OneLevel(Backbone):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, CHANNELS, STRIDE, stride=STRIDE)

    def forward(self, x):
        return {"p4": self.conv(x)}

    def output_shape(self):
        return {"p4": ShapeSpec(channels=CHANNELS, stride=STRIDE)}


def dense(kind: type, generator: type = DefaultAnchorGenerator) -> nn.Module:
    torch.manual_seed(0)
    shape = [ShapeSpec(channels=CHANNELS, stride=STRIDE)]
    common = dict(backbone=OneLevel(), num_classes=K, pixel_mean=[0.0] * 3, pixel_std=[255.0] * 3)
    common |= dict(head_in_features=["p4"], test_score_thresh=0.0)
    if issubclass(kind, FCOS):
        head = FCOSHead(input_shape=shape, num_classes=K, conv_dims=[CHANNELS])
        return kind(head=head, **common).eval()
    made = anchors(generator)
    head = RetinaNetHead(
        input_shape=shape, num_classes=K, num_anchors=made.num_anchors[0], conv_dims=[CHANNELS]
    )
    return kind(
        head=head,
        anchor_generator=made,
        box2box_transform=TRANSFORM,
        anchor_matcher=Matcher([0.4, 0.5], [0, -1, 1]),
        test_nms_thresh=1.0,
        **common,
    ).eval()


@pytest.mark.parametrize("base", [RetinaNet, FCOS])
def test_detections_come_from_the_decoding_of_the_subclass(base):
    class OfOneClass(base):
        def _decode_per_level_predictions(self, *arguments):
            found = super()._decode_per_level_predictions(*arguments)
            found.pred_classes = torch.full_like(found.pred_classes, 2)
            return found

    inputs = [{"image": torch.rand(3, *SIZE) * 255}]
    (plain,), (changed,) = dense(base)(inputs), dense(OfOneClass)(inputs)
    assert len(changed["instances"]) > 0
    assert set(plain["instances"].pred_classes.tolist()) == {0, 1, 2}
    assert set(changed["instances"].pred_classes.tolist()) == {2}


def test_anchors_that_depend_on_features_are_made_for_every_batch():
    model, dark = dense(RetinaNet, Bright), torch.zeros(1, CHANNELS, 4, 6)
    maps = [[dark], [dark + 5.0]]
    found = [
        model.forward_inference(image_list(1), level, [[torch.zeros(1, n, 4, 6)] for n in (12, 16)])
        for level in maps
    ]
    (first,), (second,) = found
    difference = second.pred_boxes.tensor - first.pred_boxes.tensor
    torch.testing.assert_close(difference, torch.full_like(difference, 5.0))


def test_anchors_follow_a_changed_generator():
    model = dense(RetinaNet)
    level, predictions = features(1)["p4"], [[torch.zeros(1, n, 4, 6)] for n in (12, 16)]
    model.forward_inference(image_list(1), [level], predictions)
    model.anchor_generator.cell_anchors = anchors(Doubled).cell_anchors
    (found,) = model.forward_inference(image_list(1), [level], predictions)
    areas = found.pred_boxes.area()
    assert {round(area) for area in areas.tolist()} == {32**2, 64**2}


def box_head() -> FastRCNNConvFCHead:
    shape = ShapeSpec(channels=CHANNELS, height=3, width=3)
    return FastRCNNConvFCHead(shape, conv_dims=[], fc_dims=[6])


def box_predictor(shared: bool) -> FastRCNNOutputLayers:
    return FastRCNNOutputLayers(
        6, box2box_transform=TRANSFORM, num_classes=K, cls_agnostic_bbox_reg=shared
    )


def roi_heads(base: type, **methods) -> StandardROIHeads:
    torch.manual_seed(0)
    kind = type("Branched", (base,), methods)
    arguments = dict(
        num_classes=K,
        batch_size_per_image=8,
        positive_fraction=0.5,
        box_in_features=["p4"],
        box_pooler=ROIPooler(3, [1 / STRIDE], 0, "ROIAlignV2"),
    )
    matcher = Matcher([0.5], [0, 1])
    if base is CascadeROIHeads:
        return kind(
            box_heads=[box_head(), box_head()],
            box_predictors=[box_predictor(True), box_predictor(True)],
            proposal_matchers=[matcher, matcher],
            **arguments,
        )
    return kind(
        box_head=box_head(),
        box_predictor=box_predictor(False),
        proposal_matcher=matcher,
        **arguments,
    )


def scored(self, features, instances):
    """A branch that rates boxes: a loss in training, a field in evaluation."""
    if self.training:
        return {"loss_branch": features["p4"].sum() * 0 + len(instances)}
    for found in instances:
        found.rating = torch.arange(len(found))
    return instances


@pytest.mark.parametrize("base", [StandardROIHeads, CascadeROIHeads])
@pytest.mark.parametrize("method", ["_forward_mask", "_forward_keypoint"])
def test_a_further_branch_of_the_heads_is_called(base, method):
    heads = roi_heads(base, **{method: scored})
    boxes = [Instances(SIZE, proposal_boxes=t.gt_boxes) for t in targets()]
    for box in boxes:
        box.objectness_logits = torch.zeros(len(box))
    with EventStorage(0):
        _, losses = heads(image_list(), features(), boxes, targets())
    assert losses["loss_branch"] == 2
    found, _ = heads.eval()(image_list(), features(), boxes)
    assert all(f.rating.tolist() == list(range(len(f))) for f in found) and len(found[0]) > 0


@pytest.mark.parametrize("base", [StandardROIHeads, CascadeROIHeads])
def test_heads_without_a_further_branch_add_nothing(base):
    heads = roi_heads(base)
    assert heads._forward_mask(features(), []) == heads._forward_keypoint(features(), []) == {}
    boxes = [Instances(SIZE)]
    assert heads.eval()._forward_mask(features(), boxes) is boxes
    assert heads._forward_keypoint(features(), boxes) is boxes


def test_the_box_head_lists_its_layers():
    head = FastRCNNConvFCHead(
        ShapeSpec(channels=4, height=3, width=3), conv_dims=[6, 5], fc_dims=[8], conv_norm="BN"
    )
    assert head.conv_norm_relus == [head.conv1, head.conv2] and head.fcs == [head.fc1]
    assert sorted(head.state_dict()) == sorted(
        FastRCNNConvFCHead(
            ShapeSpec(channels=4, height=3, width=3), conv_dims=[6, 5], fc_dims=[8], conv_norm="BN"
        ).state_dict()
    )


@only_bundled
@pytest.mark.parametrize(
    "method",
    [
        DatasetMapper.from_config,
        DefaultAnchorGenerator.from_config,
        FCOSHead.from_config,
        FastRCNNConvFCHead.from_config,
        FastRCNNOutputLayers.from_config,
        GeneralizedRCNN.from_config,
        ProposalNetwork.from_config,
        ROIHeads.from_config,
        RPN.from_config,
        RetinaNet.from_config,
        RetinaNetHead.from_config,
        StandardROIHeads._init_box_head,
        StandardRPNHead.from_config,
        CascadeROIHeads._init_box_head,
    ]
    if lowres_d2.detectron2_provider() == "bundled"
    else [],
)
def test_what_reads_yacs_configs_says_so(method):
    with pytest.raises(NotImplementedError, match=r"\.(from_config|_init_box_head) needs upstream"):
        method({}, {})
