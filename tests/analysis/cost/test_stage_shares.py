"""MACs by stage: known numbers, all kinds of backbones, the figure and its program."""

from __future__ import annotations

from lowres_d2.analysis.cost.complexity import counted, measure_complexity
from lowres_d2.analysis.cost.counting_rules import MMCV
from lowres_d2.analysis.cost.stages import backbone_of, macs_by_stage, plot_stages
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.backbone import (
    BottomHeavyHRNet,
    CifarAlexNet,
    HRNet,
    MobileNetV2,
    SmallResNet,
    TimmBackbone,
    bottom_heavy,
)
from lowres_d2.modeling.resample import Bicubic
from lowres_d2.modeling.without_values import without_values
from lowres_d2.programs.visualize import main

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from PIL import Image
from torch import nn

from toys.detectors import DETECTORS, random_image

QUICK = "configs/quick/full_fcos_small_256_plates.py"
RESNET = ["stem", "res2", "res3", "res4", "res5"]
FEW = ((1, 1), (1, 1), (1, 1))


def test_stages_of_the_papers_twins():
    """Fig. 2: the standard network computes most in stage 3, the other one in stages 1 and 2."""
    configs = LazyConfig.load("configs/common/models/bottom_heavy.py")
    shares = {}
    for name in ("resnet50", "bh_resnet50"):
        with without_values():
            found = macs_by_stage(instantiate(configs[name]))
        assert list(found) == RESNET
        shares[name] = [round(100 * number / sum(found.values())) for number in found.values()]
    # A further block of any stage has 1.426 G, the first ones more; stems 0.77 and 0.57 G.
    assert shares == {"resnet50": [3, 16, 25, 36, 20], "bh_resnet50": [2, 39, 36, 14, 9]}


def test_a_hand_counted_network():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.stages = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
            self.idle = nn.ReLU()

        def forward(self, x):
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return {"out": self.idle(x)}

    cells = 4 * 6
    network = Network()
    plain = {"stem": cells * 4 * 27, "stages": 2 * cells * 4 * 36}
    assert macs_by_stage(network, (8, 12)) == plain
    biases, relu = cells * 4, cells * 4
    assert macs_by_stage(network, (8, 12), MMCV) == {
        "stem": plain["stem"] + biases, "stages": plain["stages"] + 2 * biases, "idle": relu
    }  # fmt: skip
    assert next(network.parameters()).device.type == "cpu" and not network.stem._forward_hooks


@pytest.mark.parametrize(
    ("make", "stages"),
    [
        (lambda: CifarAlexNet(8), ["stage1", "stage2", "stage3"]),
        (lambda: bottom_heavy(SmallResNet(), [2, 1, 1, 1]), RESNET),
        (
            lambda: BottomHeavyHRNet(4, stages=FEW),
            ["stem", "stage 1", "stage 2", "stage 3", "stage 4"],
        ),
        (  # The head of its classifier is of no stage.
            lambda: HRNet(4, ["final"], stages=FEW),
            ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "rest"],
        ),
        (lambda: TimmBackbone("resnet10t"), ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        (lambda: MobileNetV2(["res2"]), ["0", "1", "2", "3"]),
    ],
)  # fmt: skip
def test_stages_of_any_backbone_add_up(make, stages):
    network = make()
    found = macs_by_stage(network, (64, 96))
    assert list(found) == stages
    network = network.to("meta").eval()
    with counted() as count:
        network(torch.empty(1, 3, 64, 96, device="meta"))
    assert sum(found.values()) == count()


@pytest.mark.parametrize("name", ["faster_rcnn_fpn", "faster_rcnn_c4"])
def test_the_backbone_of_a_composition_is_counted_alone(name):
    detector = DETECTORS[name]()
    model = LowResDetector(detector, Bicubic(2))
    backbone = detector.backbone
    assert backbone_of(model) is getattr(backbone, "bottom_up", backbone)
    found = macs_by_stage(model, (64, 96))
    image = {"image": random_image(64, 96), "height": 64, "width": 96}
    assert sum(found.values()) == measure_complexity(detector, [image]).macs["backbone"]


def test_the_figure_and_its_program_need_no_data(tmp_path, capsys):
    path = plot_stages(
        {"a": {"stem": 1, "res2": 3}, "b": {"rest": 2}}, tmp_path / "two.png", "on 1"
    )
    assert min(Image.open(path).size) > 100
    output = ["--output", str(tmp_path), "train.device=cpu"]
    main(["stages", "--runs", f"a={QUICK}", f"b={QUICK}", *output])
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "stages.png")]
    assert Image.open(tmp_path / "stages.png").width > 500
    with pytest.raises(SystemExit):
        main(["stages", "--runs", QUICK, QUICK, *output])
    assert "two runs are called" in capsys.readouterr().err
