import lowres_d2  # noqa: F401
from lowres_d2.analysis.matching.receptive_field import ReceptiveField, discrepancy, receptive_field
from lowres_d2.layers.k_bit import LearnedStep
from lowres_d2.modeling.backbone import AtrousTwin, SmallResNet, SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized
from lowres_d2.programs.receptive_field import main

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock, ResNet
from torch import nn
from torchvision.ops.misc import SqueezeExcitation

LEVELS = ["res2", "res3", "res4", "res5"]


class Named(nn.Sequential):
    """Layers in a row, whose output is called ``map``."""

    def forward(self, x):
        return {"map": super().forward(x)}


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(kernel, stride=1, dilation=1, channels=3, groups=1):
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(3, channels, kernel, stride, padding, dilation, groups)


def resnet(depths, **kwargs):
    """Kernels and strides of a ResNet up to ``res4``, in few channels."""
    stages = [
        ResNet.make_stage(
            BottleneckBlock,
            depth,
            in_channels=before,
            out_channels=before + 4,
            bottleneck_channels=2,
            stride_per_block=[stride] + [1] * (depth - 1),
            **kwargs,
        )
        for depth, before, stride in zip(depths, (4, 8, 12), (1, 2, 2), strict=True)
    ]
    return ResNet(BasicStem(3, 4), stages, out_features=["res4"]).eval()


@pytest.mark.parametrize(
    "layers, size, stride",
    [
        ([conv(1)], 1, 1),
        ([conv(3)], 3, 1),
        ([conv(1, 2)], 1, 2),
        ([conv(7, 2), nn.MaxPool2d(3, 2, 1)], 7 + 2 * 2, 4),
        ([conv(3, 2), conv(3, dilation=4), conv(5)], 3 + 2 * 8 + 2 * 4, 2),
        ([conv(3), nn.AvgPool2d(2), conv(3, groups=3)], 3 + 1 + 2 * 2, 2),
        ([conv(3), nn.BatchNorm2d(3), nn.ReLU6(), nn.Hardswish(), nn.GroupNorm(3, 3)], 3, 1),
        ([conv(3), SqueezeExcitation(3, 2), conv(3)], 5, 1),
        # Halved and doubled: a cell and its neighbours lie in two of the coarse ones.
        ([nn.MaxPool2d(2), nn.Upsample(scale_factor=2), conv(3)], 4, 1),
        ([conv(3, dilation=300), conv(3, dilation=300)], 1201, 1),
        ([nn.Conv2d(3, 3, 5, padding="same"), nn.Conv2d(3, 3, (1, 2), padding="valid")], 6, 1),
    ],
)
def test_receptive_field_is_the_sum_over_layers(layers, size, stride):
    assert receptive_field(Named(*layers).eval(), "map") == ReceptiveField(size, stride)


def test_weights_do_not_matter():
    network = Named(conv(3), nn.ReLU(), conv(5))
    for parameter in network.parameters():
        nn.init.constant_(parameter, -1 if parameter.dim() == 1 else 0)
    assert receptive_field(network.eval(), "map").size == 7


@pytest.mark.parametrize(
    "depths, size, ratio, of_twin",
    [((3, 4, 6), 291, 2, 582), ((3, 4, 6), 291, 4, 1162), ((3, 4, 23), 835, 2, 1670)],
)
def test_resnets_at_c4(depths, size, ratio, of_twin):
    network = resnet(depths, stride_in_1x1=True)
    assert receptive_field(network, "res4") == ReceptiveField(size, 16)
    assert receptive_field(AtrousTwin(network, ratio), "res4") == ReceptiveField(of_twin, 16)


def test_receptive_field_of_a_pyramid_reaches_as_far_as_the_coarsest_feature_map():
    network = FPN(SmallResNet(), LEVELS, 4, top_block=LastLevelMaxPool()).eval()
    fields = [receptive_field(network, name) for name in ("p3", "p6")]
    coarsest = receptive_field(network.bottom_up, "res5").size
    # The 3x3 convolution after a feature map crosses a border of p5's cells; p5's own, two.
    assert fields == [ReceptiveField(coarsest + 32, 8), ReceptiveField(coarsest + 2 * 32, 64)]


@pytest.mark.parametrize("quantizer", ["sign", "shifted_sign", "learned_step", "none"])
def test_layers_of_few_bits_see_what_real_valued_ones_see(quantizer):
    network = SmallShortcutResNet(channels=(4, 6, 8), depths=(1, 1), out_features=["res2", "res3"])
    binarized(network, ["first", "shortcuts"], quantizer, activation="shifted_prelu").eval()
    # The stem, and two convolutions a block: 3 + 2 (2 + 4), and 2 (4 + 8) more.
    for name, size, stride in (("res2", 15, 4), ("res3", 39, 8)):
        assert receptive_field(network, name) == ReceptiveField(size, stride)
    steps = [m.step for m in network.modules() if isinstance(m, LearnedStep)]
    assert not any(steps)  # nothing has started


def test_the_papers_equations():
    field = ReceptiveField(291, 16)
    assert field.relative(4, 1600) == (291 + 3 * 16) / 1600
    assert discrepancy(field, 4, 1600) == pytest.approx(1.81, abs=0.005)  # of the paper
    twin = ReceptiveField(582, 16)
    assert discrepancy(field, 4, 1600, twin) == pytest.approx(2 * (291 + 16) / (582 + 48))
    # The twin of a network with twice the receptive field: off by half a stride of the region.
    for width in (2, 8, 32):
        assert 0.95 < discrepancy(field, width, 800, twin) < 1 < 1.2 < discrepancy(field, width, 9)


@pytest.mark.parametrize(
    "network, name, error, message",
    [
        (Named(conv(3)).eval(), "res4", KeyError, "no output 'res4': the network has map"),
        (Named(conv(3)), "map", ValueError, r"training mode: call its eval\(\)"),
        (Named(Function(torch.zeros_like)).eval(), "map", ValueError, "depends on no pixel"),
        (
            Named(Function(torch.sign)).eval(),
            "map",
            ValueError,
            "measured through torch.sign: it hides NaN",
        ),
        (
            Named(Function(lambda x: torch.where(x >= 0, 1.0, -1.0))).eval(),
            "map",
            ValueError,
            "through torch.where",
        ),
        (
            Named(Function(lambda x: x + F.avg_pool2d(x, x.shape[-2:]))).eval(),
            "map",
            ValueError,
            "sees more than 16384 pixels",
        ),
    ],
)
def test_a_receptive_field_that_cannot_be_measured_is_an_error(network, name, error, message):
    with pytest.raises(error, match=message):
        receptive_field(network, name)


def rows_of_program(capsys, *arguments):
    main(["--config-file", *arguments])
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("factor, options", [(2, []), (4, ["--ratio", "4"])])
def test_the_program_prints_what_a_detector_sees(capsys, factor, options):
    recipe = "configs/quick/bicubic4_fcos_small_64_plates.py"  # a detector in a composition
    rows = rows_of_program(capsys, recipe, "--image", "64", "--widths", "2", "4", *options)
    network = FPN(SmallResNet(), LEVELS, 4).eval()
    field = receptive_field(network, "p5")
    twin = receptive_field(AtrousTwin(network, factor), "p5")
    index = next(k for k, row in enumerate(rows) if row[:1] == ["p5"])
    ratio = f"{twin.size / field.size:.3f}"
    assert rows[index][:5] == ["p5", "32", str(field.size), str(twin.size), ratio]
    for width, row in ((2, rows[index][5:]), (4, rows[index + 1])):
        shares = [
            field.relative(width, 64),
            field.relative(width / factor, 64 / factor) / field.relative(width, 64),
            field.relative(width / factor, 64 / factor) / twin.relative(width, 64),
        ]
        assert row == [str(width), *(f"{share:.3f}" for share in shares)]


class OddResNet(SmallResNet):
    def forward(self, x):
        return super().forward(x)


def test_the_program_says_why_there_is_no_twin(capsys):
    recipe = "configs/quick/full_fcos_small_256_plates.py"
    target = f"model.detector.backbone.bottom_up._target_={OddResNet.__module__}.OddResNet"
    rows = rows_of_program(capsys, recipe, target)
    row = next(row for row in rows if row[:1] == ["p2"])
    assert row[1:6] == ["4", "215", "-", "-", "4"] and row[8] == "-"
    assert rows[-1][:4] == ["No", "twin:", "bottom_up", "(OddResNet)"]


@pytest.mark.parametrize(
    "option, value, expected",
    [("--widths", "0", "a positive number"), ("--ratio", "1", "an integer from 2 up")],
)
def test_the_program_refuses_values_out_of_range(capsys, option, value, expected):
    with pytest.raises(SystemExit):
        main(["--config-file", "configs/quick/full_fcos_small_256_plates.py", option, value])
    assert capsys.readouterr().err == f"error: {option} {value}: expected {expected}\n"
