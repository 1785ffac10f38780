"""``LowResDetector`` around each of the five detectors: frames, gradients, bit-equality."""

from __future__ import annotations

from fractions import Fraction

from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic, DownUp, Identity, Resampler

import pytest
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from toys.detectors import DETECTORS, random_image, random_instances, training_input

FACTORS = ["2", "3", "4", "3/2"]
ODD_SIZE = (101, 133)


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request):
    torch.manual_seed(0)
    return DETECTORS[request.param]()


class Learned(Resampler):
    """A strided convolution; factor 2."""

    def __init__(self):
        super().__init__(2)
        self.convolution = nn.Conv2d(3, 3, 3, 2, 1)
        nn.init.constant_(self.convolution.weight, 1 / 27)

    def resample(self, images):
        return self.convolution(images)


class Recording(nn.Module):
    """Stands in for a detector and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, inputs):
        self.calls.append(inputs)
        if self.training:
            return {"loss_cls": self.weight * 2, "loss_box": self.weight * 3}
        return [{"scores": x["image"].mean()[None]} for x in inputs]


def _bit_equal(ours: Instances, bare: Instances) -> bool:
    return (
        ours.image_size == bare.image_size
        and torch.equal(ours.pred_boxes.tensor, bare.pred_boxes.tensor)
        and torch.equal(ours.scores, bare.scores)
        and torch.equal(ours.pred_classes, bare.pred_classes)
    )


@torch.no_grad()
def test_factor_one_is_bit_equal_to_the_bare_detector(detector):
    inputs = [
        {"image": random_image(97, 121), "height": 211, "width": 307},
        {"image": random_image(64, 80, seed=1)},
    ]
    bare = detector.eval()(inputs)
    ours = LowResDetector(detector, Identity()).eval()(inputs)
    for one, other in zip(ours, bare, strict=True):
        assert len(other["instances"]) > 0
        assert _bit_equal(one["instances"], other["instances"])


def test_factor_one_trains_on_the_same_losses(detector):
    inputs = [training_input(64, 80), training_input(97, 64, seed=1)]
    losses = []
    for model in (detector, LowResDetector(detector, Identity())):
        model.train()
        detector.__dict__.pop("loss_normalizer", None)  # moving average of dense detectors
        torch.manual_seed(1)
        with EventStorage():
            losses.append(model(inputs))
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def _make_oracle(detector: nn.Module, monkeypatch, boxes: list[torch.Tensor]) -> None:
    """The detector's own forward, with these low-resolution boxes in place of its predictions."""

    def found(images):
        results = [Instances(size) for size in images.image_sizes]
        for result, tensor in zip(results, boxes, strict=True):
            result.pred_boxes = Boxes(tensor)
            result.scores = torch.ones(len(tensor))
            result.pred_classes = torch.zeros(len(tensor), dtype=torch.long)
        return results

    if hasattr(detector, "roi_heads"):
        head = lambda images, *args, **kwargs: (found(images), {})  # noqa: E731
        monkeypatch.setattr(detector.roi_heads, "forward", head)
    else:
        monkeypatch.setattr(detector, "forward_inference", lambda images, *args: found(images))


@torch.no_grad()
@pytest.mark.parametrize("factor", FACTORS)
def test_oracle_boxes_come_back_in_the_original_frame(detector, factor, monkeypatch):
    sizes = [ODD_SIZE, (97, 64)]
    truths = [random_instances(*size, count=20, seed=i).gt_boxes.tensor for i, size in
              enumerate(sizes)]  # fmt: skip
    low_res = [(boxes.double() / float(Fraction(factor))).float() for boxes in truths]
    _make_oracle(detector, monkeypatch, low_res)
    model = LowResDetector(detector, Bicubic(factor)).eval()
    # The second image was resized by the loader: its detections are scaled to 3 times its size.
    inputs = [{"image": random_image(*sizes[0])}, {"image": random_image(*sizes[1]), "height": 291,
              "width": 192}]  # fmt: skip
    for output, truth, scale, size in zip(
        model(inputs), truths, (1, 3), (ODD_SIZE, (291, 192)), strict=True
    ):
        found = output["instances"]
        assert tuple(found.image_size) == size
        assert (found.pred_boxes.tensor - truth * scale).abs().max() < 0.001


@torch.no_grad()
@pytest.mark.parametrize("factor", FACTORS)
def test_detections_lie_inside_the_image(detector, factor):
    model = LowResDetector(detector, Bicubic(factor)).eval()
    (output,) = model([{"image": random_image(*ODD_SIZE)}])
    boxes = output["instances"].pred_boxes
    assert len(boxes) > 0 and boxes.nonempty().all()
    assert boxes.tensor.min() >= 0
    assert boxes.tensor[:, 2].max() <= ODD_SIZE[1] and boxes.tensor[:, 3].max() <= ODD_SIZE[0]


def test_gradients_reach_a_learned_resampler(detector):
    resampler = Learned()
    model = LowResDetector(detector, resampler).train()
    with EventStorage():
        losses = model([training_input(96, 128), training_input(97, 77, seed=1)])
    sum(losses.values()).backward()
    for parameter in resampler.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0


def test_the_detector_gets_ordinary_inputs_in_the_low_resolution_frame():
    stub = Recording()
    original = training_input(*ODD_SIZE)
    boxes = original["instances"].gt_boxes.tensor.clone()
    proposals = Instances(ODD_SIZE)
    proposals.proposal_boxes = Boxes(boxes + 1)
    proposals.objectness_logits = torch.zeros(len(boxes))
    original |= {"proposals": proposals, "file_name": "a.png"}
    LowResDetector(stub, Bicubic("3/2"))([original])
    (given,) = stub.calls[0]
    assert given["image"].shape == (3, 68, 90) and given["image"].dtype == torch.float32
    assert 100 < given["image"].mean() < 155
    assert (given["height"], given["width"]) == (102, 135)
    assert given["instances"].image_size == (68, 90)
    torch.testing.assert_close(given["instances"].gt_boxes.tensor, boxes * 2 / 3)
    torch.testing.assert_close(given["proposals"].proposal_boxes.tensor, (boxes + 1) * 2 / 3)
    assert given["file_name"] == "a.png"
    assert torch.equal(original["instances"].gt_boxes.tensor, boxes)
    assert original["image"].dtype == torch.uint8


def test_every_byte_survives_the_way_to_unit_range_and_back():
    stub = Recording().eval()
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).expand(3, 16, 16)

    class Copy(Resampler):
        def resample(self, images):
            assert images.dtype == torch.float32
            assert images.min() == 0 and images.max() == 1
            return images.clone()

    LowResDetector(stub, Copy(1)).eval()([{"image": image}])
    assert torch.equal(stub.calls[0][0]["image"], image.float())


def test_down_up_changes_the_image_and_nothing_else():
    stub = Recording()
    original = training_input(*ODD_SIZE)
    LowResDetector(stub, DownUp(4))([original])
    (given,) = stub.calls[0]
    assert given["instances"] is original["instances"]
    assert given["image"].shape == original["image"].shape
    assert not torch.equal(given["image"], original["image"].float())


@pytest.mark.parametrize("key", ["sem_seg", "depth"])
def test_other_tensors_with_coordinates_are_refused_by_name(key):
    inputs = [{**training_input(*ODD_SIZE), key: torch.zeros(ODD_SIZE)}]
    with pytest.raises(ValueError, match=f"'{key}'.*remove it in the mapper"):
        LowResDetector(Recording(), Bicubic(2))(inputs)
    LowResDetector(Recording(), Identity())(inputs)


def test_objects_that_become_too_small_are_dropped_and_counted():
    stub = Recording()
    original = training_input(64, 64)
    original["instances"].gt_boxes.tensor[1] = torch.tensor([10.0, 10.0, 17.9, 60.0])
    original["instances"].gt_boxes.tensor[2] = torch.tensor([10.0, 10.0, 18.1, 60.0])
    original["instances"] = original["instances"][1:3]
    with EventStorage() as storage:
        LowResDetector(stub, Bicubic(4), min_box_size=2)([original])
    (given,) = stub.calls[0]
    assert given["instances"].gt_classes.tolist() == [2]
    assert storage.latest()["[metric]low_res/dropped_boxes"][0] == 1
    assert len(original["instances"]) == 2


def test_a_detector_that_does_not_post_process_is_refused():
    class Raw(Recording):
        def forward(self, inputs):
            return [{"instances": Instances(tuple(x["image"].shape[-2:]))} for x in inputs]

    with pytest.raises(ValueError, match="`height` and `width`"):
        LowResDetector(Raw(), Bicubic(2)).eval()([{"image": random_image(32, 32)}])


def test_a_detection_that_lies_in_the_padding_is_dropped():
    class InPadding(Recording):
        def forward(self, inputs):
            result = Instances(tuple(inputs[0]["image"].shape[-2:]))
            result.pred_boxes = Boxes(torch.tensor([[8.3, 0.0, 9.0, 4.0], [0.0, 0.0, 9.0, 4.0]]))
            result.scores = torch.tensor([0.9, 0.8])
            size = inputs[0]["height"], inputs[0]["width"]
            return [{"instances": detector_postprocess(result, *size)}]

    (output,) = LowResDetector(InPadding(), Bicubic(4)).eval()([{"image": random_image(33, 33)}])
    assert output["instances"].scores.tolist() == pytest.approx([0.8])
    assert output["instances"].pred_boxes.tensor.tolist() == [[0, 0, 33, 16]]


def test_a_classifier_takes_the_place_of_the_detector():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 5)

        def forward(self, inputs):
            logits = self.linear(torch.stack([x["image"].mean((1, 2)) for x in inputs]) / 255)
            if self.training:
                labels = torch.tensor([x["label"] for x in inputs])
                return {"loss_cls": nn.functional.cross_entropy(logits, labels)}
            return [{"scores": row.softmax(0)} for row in logits]

    model = LowResDetector(Classifier(), Bicubic(2), min_box_size=4)
    inputs = [{"image": random_image(32, 32, seed=i), "label": i} for i in range(3)]
    assert model(inputs)["loss_cls"].requires_grad
    assert [output["scores"].shape for output in model.eval()(inputs)] == [(5,)] * 3


def test_the_resampler_runs_outside_autocast_and_the_detector_inside():
    seen = {}

    class Probe(Recording):
        def forward(self, inputs):
            seen["detector"] = torch.is_autocast_enabled("cpu")
            return super().forward(inputs)

    class Watched(Bicubic):
        def resample(self, images):
            seen["resampler"] = torch.is_autocast_enabled("cpu")
            return super().resample(images)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        LowResDetector(Probe(), Watched(2))([training_input(32, 32)])
    assert seen == {"resampler": False, "detector": True}
