"""Cost of DFR-Det's detectors (Table 2): MB of weights, real-valued and in 1 bit; OPs by hand."""

import lowres_d2  # noqa: F401
from lowres_d2.analysis.cost.complexity import measure_complexity
from lowres_d2.analysis.cost.memory import measure_memory
from lowres_d2.modeling.backbone import PReLUStem, ShortcutBlock
from lowres_d2.modeling.one_bit import binarized

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import LazyConfig, instantiate


def built(name, real_layers=None, device="meta"):
    """The detector, or with these real-valued layers its 1-bit one."""
    config = LazyConfig.load(f"configs/common/models/{name}_r18_p2_p6.py").model
    if real_layers is not None:
        config.backbone.bottom_up.stem = L(PReLUStem)()
        config.backbone.bottom_up.stages.block_class = ShortcutBlock
    with torch.device(device):
        detector = instantiate(config)
        return detector if real_layers is None else binarized(detector, real_layers)


def megabytes(number):
    return pytest.approx(number * 1e6, rel=1e-3)


PAPER = {"fcos": 76.44, "retinanet": 79.73, "faster_rcnn": 113.26}


@pytest.mark.parametrize("name", PAPER)
def test_real_valued_detectors_take_the_memory_of_the_paper(name):
    model = built(name)
    found = measure_memory(model)
    assert (found.total_weights if name == "fcos" else found.total) == megabytes(PAPER[name])
    assert found.total == 4 * sum(parameter.numel() for parameter in model.parameters())


# Real-valued layers beside the first and the shortcuts. One rule has the paper's three sizes:
# laterals, outputs, and one 3x3 convolution of 256 channels, of the head or of FCOS's P6.
_LATERALS_OUTPUTS = ["*.fpn_lateral?", "*.fpn_output?"]
AS_IN_TABLE_2 = {
    "fcos": (["pyramid"], 15.47),
    "retinanet": ([*_LATERALS_OUTPUTS, "*.cls_subnet.0"], 15.57),
    "faster_rcnn": (["pyramid", "*.rpn_head.conv", "*.box_predictor"], 16.78),
}
PYRAMID_REAL_VALUED = {
    "fcos": (["pyramid", "last"], 15.59),
    "retinanet": (["pyramid", "last"], 18.82),
    "faster_rcnn": (["pyramid", "last"], 14.51),
}
AS_WRITTEN = {
    "fcos": (["last"], 3.208),
    "retinanet": (["last"], 4.157),
    "faster_rcnn": (["last"], 4.418),
}


@pytest.mark.parametrize("rules", [AS_IN_TABLE_2, PYRAMID_REAL_VALUED, AS_WRITTEN])
@pytest.mark.parametrize("name", PAPER)
def test_one_bit_detectors_take_the_memory_of_the_paper(name, rules):
    real, expected = rules[name]
    model = built(name, ["first", "shortcuts", *real])
    assert measure_memory(model).total_weights == megabytes(expected)


def test_fcos_of_four_bits_takes_the_memory_of_the_paper():
    real = ["first", "shortcuts", "pyramid"]
    model = binarized(built("fcos"), real, quantizer="learned_step", bits=4)
    assert measure_memory(model).total_weights == megabytes(21.37)


def test_operations_of_one_bit_fcos_are_those_counted_by_hand():
    model = built("fcos", ["first", "shortcuts", "last"], "cpu")
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    found = measure_complexity(model, [{"image": image, "height": 64, "width": 64}])
    cells = {"p2": 16**2, "p3": 8**2, "p4": 4**2, "p5": 2**2, "p6": 1}
    kernel, every = 9 * 256**2, sum(cells.values())
    assert found.ops["head"] == every * (8 * kernel / 64 + 13 * 9 * 256)
    laterals = sum(
        number * channels * 256
        for number, channels in zip(cells.values(), (64, 128, 256, 512), strict=False)
    )
    assert found.ops["neck"] == (laterals + every * kernel) / 64
    assert found.low_bit_macs["neck"] == found.macs["neck"]
    stem, shortcuts = 32**2 * 3 * 64 * 49, 8**2 * 64 * 128 + 4**2 * 128 * 256 + 2**2 * 256 * 512
    halves = zip((64, 128, 256, 512), cells.values(), strict=False)
    squares = sum(4 * number * 9 * channels**2 for channels, number in halves)
    # The first convolution of a stage has half the channels as input.
    first = sum(n * 9 * c * c // 2 for c, n in ((128, 8**2), (256, 4**2), (512, 2**2)))
    assert found.ops["backbone"] == stem + shortcuts + (squares - first) / 64
    assert found.macs["backbone"] == stem + shortcuts + squares - first
