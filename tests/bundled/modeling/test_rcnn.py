"""Two-stage detectors: frames of what goes in and comes out, and what training returns."""

from __future__ import annotations

import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN, ProposalNetwork
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    StandardROIHeads,
)
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)


class TinyBackbone(Backbone):
    """One convolution of stride 8, which keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, stride=8)

    def forward(self, x):
        self.seen = x
        return {"p3": self.conv(x).relu()}

    @property
    def size_divisibility(self) -> int:
        return 32

    def output_shape(self):
        return {"p3": ShapeSpec(channels=8, stride=8)}


def rpn() -> RPN:
    return RPN(
        in_features=["p3"],
        head=StandardRPNHead(in_channels=8, num_anchors=2),
        anchor_generator=DefaultAnchorGenerator(sizes=[[16, 32]], aspect_ratios=[1.0], strides=[8]),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=32,
        positive_fraction=0.5,
        pre_nms_topk=(100, 50),
        post_nms_topk=(50, 20),
    )


def detector(**changes) -> GeneralizedRCNN:
    torch.manual_seed(0)
    heads = StandardROIHeads(
        num_classes=3,
        batch_size_per_image=16,
        positive_fraction=0.25,
        proposal_matcher=Matcher([0.5], [0, 1], allow_low_quality_matches=False),
        box_in_features=["p3"],
        box_pooler=ROIPooler(4, (1 / 8,), 0, "ROIAlignV2"),
        box_head=FastRCNNConvFCHead(
            ShapeSpec(channels=8, height=4, width=4), conv_dims=[], fc_dims=[16]
        ),
        box_predictor=FastRCNNOutputLayers(
            16, box2box_transform=Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0)), num_classes=3
        ),
    )
    arguments = dict(
        backbone=TinyBackbone(),
        proposal_generator=rpn(),
        roi_heads=heads,
        pixel_mean=MEAN,
        pixel_std=STD,
    )
    return GeneralizedRCNN(**(arguments | changes))


def inputs(objects: int = 3, **extra) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    batch = []
    for height, width in ((50, 70), (64, 41)):
        image = (torch.rand(3, height, width, generator=generator) * 255).to(torch.uint8)
        corner = torch.rand(objects, 2, generator=generator) * 20
        target = Instances((height, width), gt_boxes=Boxes(torch.cat([corner, corner + 18], 1)))
        target.gt_classes = torch.arange(objects)
        batch.append({"image": image, "instances": target, **extra})
    return batch


def test_images_are_normalized_and_padded_with_zeros():
    model, batch = detector().eval(), inputs()
    images = model.preprocess_image(batch)
    assert images.tensor.shape == (2, 3, 64, 96)
    assert images.image_sizes == [(50, 70), (64, 41)]
    normalized = (batch[0]["image"] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    torch.testing.assert_close(images.tensor[0, :, :50, :70], normalized)
    assert images.tensor[0, :, 50:].abs().sum() == images.tensor[1, :, :, 41:].abs().sum() == 0
    assert not any(key.startswith("pixel_") for key in model.state_dict())
    assert model.device.type == "cpu"


@pytest.mark.parametrize("objects", [3, 0])
def test_training_returns_the_losses_of_both_stages(objects):
    model = detector()
    with EventStorage():
        losses = model(inputs(objects))
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.backbone.conv.weight.grad.abs().sum() > 0


def test_detections_are_scaled_to_the_size_that_the_input_names():
    model = detector().eval()
    with torch.no_grad():
        own = [r["instances"] for r in model(inputs())]
        scaled = [r["instances"] for r in model(inputs(height=100, width=210))]
        bare = model.inference(inputs(), do_postprocess=False)
    assert [r.image_size for r in own] == [(50, 70), (64, 41)]
    assert [r.image_size for r in scaled] == [(100, 210)] * 2
    assert all(len(r) > 0 for r in own)
    factor = torch.tensor([3.0, 2.0, 3.0, 2.0])  # the first image is 50 x 70
    torch.testing.assert_close(
        scaled[0].pred_boxes.tensor, own[0].pred_boxes.tensor * factor, atol=1e-4, rtol=1e-5
    )
    assert isinstance(bare[0], Instances)
    torch.testing.assert_close(bare[0].pred_boxes.tensor, own[0].pred_boxes.tensor)


def test_known_boxes_come_back_scaled_and_unsearched():
    model = detector().eval()
    known = [
        Instances(
            size,
            pred_boxes=Boxes([[1.0, 2.0, 11.0, 22.0]]),
            pred_classes=torch.tensor([2]),
            scores=torch.ones(1),
        )
        for size in ((50, 70), (64, 41))
    ]
    results = model.inference(inputs(height=100, width=140), detected_instances=known)
    assert results[0]["instances"].pred_boxes.tensor.tolist() == [[2, 4, 22, 44]]
    assert results[0]["instances"].pred_classes.tolist() == [2]


def test_proposals_may_come_with_the_input():
    model = detector(proposal_generator=None)
    batch = inputs()
    for entry in batch:
        given = Instances(entry["instances"].image_size)
        given.proposal_boxes = Boxes([[3.0, 3.0, 21.0, 21.0], [10.0, 5.0, 30.0, 25.0]])
        given.objectness_logits = torch.zeros(2)
        entry["proposals"] = given
    with EventStorage():
        assert set(model(batch)) == {"loss_cls", "loss_box_reg"}
    with torch.no_grad():
        assert len(model.eval()(batch)) == 2


def test_training_is_drawn_every_vis_period():
    model = detector(vis_period=2, input_format="BGR")
    for iteration, images in ((0, 1), (1, 0)):
        with EventStorage(iteration) as storage:
            model(inputs())
        assert len(storage._vis_data) == images
        for _, image, _ in storage._vis_data:
            assert image.shape == (3, 50, 140)


@pytest.mark.parametrize(
    "wrong", [{"vis_period": 1}, {"pixel_std": (1.0,)}], ids=["unknown format", "channels differ"]
)
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises((ValueError, AssertionError)):
        detector(**wrong)


def test_proposal_network_trains_and_scales_its_proposals():
    torch.manual_seed(0)
    model = ProposalNetwork(
        backbone=TinyBackbone(), proposal_generator=rpn(), pixel_mean=MEAN, pixel_std=STD
    )
    with EventStorage():
        assert set(model(inputs())) == {"loss_rpn_cls", "loss_rpn_loc"}
    model.eval()
    with torch.no_grad():
        own = model(inputs())[0]["proposals"]
        scaled = model(inputs(height=100, width=140))[0]["proposals"]
    assert own.image_size == (50, 70) and scaled.image_size == (100, 140)
    torch.testing.assert_close(
        scaled.proposal_boxes.tensor, 2 * own.proposal_boxes.tensor, atol=1e-4, rtol=1e-5
    )


def test_detectors_are_registered_by_name():
    assert META_ARCH_REGISTRY.get("GeneralizedRCNN") is GeneralizedRCNN
    assert META_ARCH_REGISTRY.get("ProposalNetwork") is ProposalNetwork
