import math

import lowres_d2  # noqa: F401
from lowres_d2.analysis.cost.complexity import count_parameters, measure_complexity
from lowres_d2.analysis.cost.parts import in_order, metering, part_of
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.objectives import Objective
from lowres_d2.modeling.resample import Bicubic, LearnedDownsampler

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry
from torchvision.ops import DeformConv2d

from toys.detectors import DETECTORS, random_image


class OnImage(nn.Module):
    """Passes the first image to a layer as (1, 3, H, W), or as (1, 3, H W)."""

    def __init__(self, layer, flat=False):
        super().__init__()
        self.layer, self.flat = layer, flat

    def forward(self, inputs):
        x = inputs[0]["image"].float()[None]
        return self.layer(x.flatten(2) if self.flat else x)


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


class DeformedConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = DeformConv2d(3, 5, 3, padding=1)

    def forward(self, x):
        return self.conv(x, x.new_zeros(1, 18, *x.shape[-2:]))


HEIGHT, WIDTH = 6, 10
CELLS = HEIGHT * WIDTH
# Of 3 tokens: projections to queries, keys, values and back; scores and their weighted sum.
ATTENTION = 4 * 3 * CELLS**2 + 2 * 3 * 3 * CELLS


def inputs(height=HEIGHT, width=WIDTH):
    return [{"image": random_image(height, width), "height": height, "width": width}]


@pytest.mark.parametrize(
    "layer, flat, macs",
    [
        (nn.Conv2d(3, 4, 3, padding=1), False, CELLS * 4 * 3 * 9),
        (nn.Conv2d(3, 6, (3, 1), stride=2, padding=(1, 0)), False, 3 * 5 * 6 * 3 * 3),
        (nn.Conv2d(3, 6, 3, groups=3, bias=False), False, 4 * 8 * 6 * 9),
        (nn.ConvTranspose2d(3, 2, 2, stride=2), False, CELLS * 3 * 2 * 4),
        (nn.Linear(CELLS, 7), True, 3 * CELLS * 7),
        (DeformedConv(), False, CELLS * 5 * 3 * 9),
        (SelfAttention(CELLS, 4), True, ATTENTION),
        (nn.TransformerEncoderLayer(CELLS, 4, 20, batch_first=True), True, ATTENTION + 7200),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), False, 0),
    ],
)
def test_macs_of_layers_follow_their_formula(layer, flat, macs):
    found = measure_complexity(OnImage(layer, flat), inputs())
    assert found.total_macs == macs
    assert found.total_parameters == sum(p.numel() for p in layer.parameters())


def test_macs_are_a_mean_over_images():
    model = OnImage(nn.Conv2d(3, 4, 1))
    found = measure_complexity(model, inputs() + inputs(HEIGHT, 3 * WIDTH))
    assert found.total_macs == 2 * CELLS * 12 and found.images == 2
    with pytest.raises(ValueError, match="at least one"):
        measure_complexity(model, [])


def test_a_parameter_can_be_the_input_of_a_module():
    class Queries(nn.Module):
        def __init__(self):
            super().__init__()
            self.queries = nn.Embedding(5, 8)
            self.layer = nn.Linear(8, 2)

        def forward(self, _):
            return self.layer(self.queries.weight)

    assert measure_complexity(Queries(), inputs()).macs == {"layer": 80}


@pytest.mark.parametrize("name", DETECTORS)
def test_parts_of_a_composition_add_up_to_the_detector_and_its_resampler(name):
    detector = DETECTORS[name]()
    low = measure_complexity(LowResDetector(detector, LearnedDownsampler(4)), inputs(128, 192))
    small = measure_complexity(detector, inputs(32, 48)).macs
    without = {part: macs for part, macs in low.macs.items() if part != "resampler"}
    if name == "cascade_rcnn" or name.startswith("faster"):  # as many proposals as it got
        without.pop("roi_heads"), small.pop("roi_heads")
    assert without == small
    # 3x3 to 12 channels at half size, 3x3 to 3 at quarter size.
    # The first layer makes a row and a column more for the second one's kernels at the border.
    assert low.macs["resampler"] == 65 * 97 * 12 * 27 + 32 * 48 * 3 * 108
    assert low.parameters["backbone"] == sum(
        p.numel() for p in getattr(detector.backbone, "bottom_up", detector.backbone).parameters()
    )
    total = sum(p.numel() for p in detector.parameters()) + 12 * 28 + 3 * 109
    assert low.total_parameters == total


def test_objectives_do_not_count_and_shared_parameters_count_once():
    class Extra(Objective):
        def __init__(self):
            super().__init__(name="extra")
            self.layer = nn.Linear(3, 3)

    detector = DETECTORS["fcos"]()
    plain = count_parameters(LowResDetector(detector, Bicubic(2)))
    assert count_parameters(LowResDetector(detector, Bicubic(2), objectives=[Extra()])) == plain
    twice = nn.ModuleList([shared := nn.Linear(2, 3), shared])
    assert sum(count_parameters(twice).values()) == 9


def test_a_meter_charges_the_innermost_part_and_hooks_are_removed():
    model = LowResDetector(DETECTORS["fcos"](), Bicubic(2)).eval()
    ticks = iter(range(10**9))
    with torch.no_grad(), metering(model, lambda: next(ticks)) as spent:
        model(inputs(32, 32))
    assert set(spent) == {
        "rest", "resampler", "neck", "backbone", "head", "anchor_generator"
    }  # fmt: skip
    assert sum(spent.values()) == next(ticks) - 1
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert in_order(["rest", "head", "neck", "backbone"]) == ["backbone", "neck", "head", "rest"]
    assert part_of("detector.backbone.bottom_up.res2", model) == "backbone"
    assert part_of("detector.backbone.fpn_output2", model) == "neck"
    assert part_of("detector", model) == part_of("", model) == "rest"


# MACs of the original at the full, half and quarter of 800x1120, in 1e9.
THUMBDET = {1: 171.0, 2: 44.80, 4: 13.22}
DOWNSAMPLERS = {4: 0.09, 2: 1.0}


class OnlyShapes(TorchDispatchMode):
    """Gives convolutions and matrix products results of the right shape, all zeros.

    MACs follow from shapes: a counter that is active within this one counts what it would count.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._overloadpacket not in flop_registry:
            return func(*args, **(kwargs or {}))
        shapes = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), args)
        return torch.zeros_like(func(*shapes, **(kwargs or {})), device="cpu")


def test_macs_are_those_of_shapes():
    model = LowResDetector(DETECTORS["retinanet"](), LearnedDownsampler(2))
    found = measure_complexity(model, inputs(64, 96))
    with OnlyShapes():
        assert measure_complexity(model, inputs(64, 96)) == found
    assert found.total_macs > 1e6


@pytest.fixture(scope="module")
def deformable_detr():
    return instantiate(LazyConfig.load("configs/common/models/deformable_detr.py").model).eval()


@pytest.mark.slow
@pytest.mark.parametrize("factor", [2, 4])
def test_thumbdet_takes_the_macs_of_the_paper(deformable_detr, factor):
    model = LowResDetector(deformable_detr, LearnedDownsampler(factor))
    with OnlyShapes():
        found = measure_complexity(model, inputs(800, 1120))
    assert found.total_parameters - found.parameters["resampler"] == 40_066_838
    assert math.isclose(found.macs["resampler"] / 1e9, DOWNSAMPLERS[factor], rel_tol=0.02)
    # The original runs its heads on all six decoder layers, ours on the last one.
    heads = found.macs["box_heads"] + found.macs["class_heads"]
    detector = found.total_macs - found.macs["resampler"] + 5 * heads
    assert math.isclose(detector / 1e9, THUMBDET[factor], rel_tol=0.015)


@pytest.mark.slow
def test_deformable_detr_takes_the_macs_of_the_paper_at_full_resolution(deformable_detr):
    with OnlyShapes():
        found = measure_complexity(deformable_detr, inputs(800, 1120))
    assert math.isclose(found.total_macs / 1e9, THUMBDET[1], rel_tol=0.015)
