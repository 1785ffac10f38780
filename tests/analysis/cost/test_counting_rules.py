"""mmcv's rule beside the project's own: known numbers of layers, functions and a detector."""

from __future__ import annotations

import json

from lowres_d2.analysis.cost.complexity import counted, measure_complexity
from lowres_d2.analysis.cost.counting_rules import MACS, MMCV
from lowres_d2.programs.analyze import main

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import FrozenBatchNorm2d
from torch import nn
from torchvision.ops import deform_conv2d

from toys.detectors import DETECTORS, random_image

CELLS = 6 * 8
MAPS = 4 * CELLS  # elements of the input


def attention(x):
    return F.scaled_dot_product_attention(x, x, x)


def deformed(x):
    return deform_conv2d(x, x.new_zeros(1, 18, 6, 8), x.new_zeros(5, 4, 3, 3), padding=1)


@pytest.mark.parametrize(
    ("layer", "macs", "by_mmcv"),
    [
        (nn.Conv2d(4, 5, 3, padding=1), CELLS * 5 * 36, CELLS * 5 * 37),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False), CELLS * 6 * 18, CELLS * 6 * 18),
        (nn.Linear(8, 3), 24 * 24, 24 * 24 + 24 * 3),
        (nn.Linear(8, 3, bias=False), 24 * 24, 24 * 24),
        (nn.BatchNorm2d(4), 0, 2 * MAPS),
        (FrozenBatchNorm2d(4), 0, 2 * MAPS),
        (nn.GroupNorm(2, 4), 0, 2 * MAPS),
        (nn.LayerNorm(8), 0, 2 * MAPS),
        (nn.ReLU(), 0, MAPS),
        (nn.ReLU6(), 0, MAPS),
        (nn.PReLU(4), 0, MAPS),
        (F.relu_, 0, MAPS),
        (nn.MaxPool2d(3, 2, 1), 0, MAPS),
        (lambda x: F.avg_pool2d(x, 2), 0, MAPS),
        (nn.Upsample(scale_factor=2), 0, 4 * MAPS),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 0, 4 * MAPS),
        (nn.Sigmoid(), 0, 0),
        (lambda x: x + x, 0, 0),
        (attention, 2 * 4 * 6 * 6 * 8, 0),
        (deformed, CELLS * 5 * 36, 0),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_layers_and_functions_count_by_their_formulas(layer, macs, by_mmcv, device):
    if isinstance(layer, nn.Module):
        layer.eval().to_empty(device=device)
    found = []
    for rule in (MACS, MMCV):
        with counted(rule) as count:
            layer(torch.empty(1, 4, 6, 8, device=device))
        found.append(count())
    assert found == [macs, by_mmcv]


@pytest.mark.parametrize("name", ["fcos", "faster_rcnn_fpn"])
def test_each_part_of_a_detector_counts_more_by_mmcv(name):
    model = DETECTORS[name]()
    images = [{"image": random_image(64, 96), "height": 64, "width": 96}]
    plain, by_mmcv = (measure_complexity(model, images, rule) for rule in (MACS, MMCV))
    assert plain == measure_complexity(model, images)
    assert by_mmcv.parameters == plain.parameters
    for part, macs in plain.macs.items():
        assert macs < by_mmcv.macs[part] < 1.5 * macs


def test_the_program_takes_the_rule_and_says_which(capsys):
    recipe = "configs/quick/full_fcos_small_256_plates.py"
    size = ["--config-file", recipe, "train.device=cpu", "--size", "64", "96"]
    for rule in (MACS, MMCV):
        main([*size, "--rule", rule.name])
        table = capsys.readouterr().out
        assert f"{rule.quantity}, G" in table and rule.note in table
    main([*size, "--json"])
    plain = json.loads(capsys.readouterr().out)
    main([*size, "--json", "--rule", "mmcv"])
    by_mmcv = json.loads(capsys.readouterr().out)
    assert (plain["rule"], by_mmcv["rule"]) == ("macs", "mmcv")
    macs, more = (r["full resolution"]["macs"]["backbone"] for r in (plain, by_mmcv))
    assert macs < more < 1.2 * macs
    with pytest.raises(SystemExit):
        main([*size, "--rule", "fvcore"])
