"""Towers of dense heads with a shortcut around each convolution."""

from __future__ import annotations

from lowres_d2.layers.one_bit import BinaryConv2d
from lowres_d2.modeling.one_bit import ShortcutTower, binarized
from lowres_d2.modeling.one_bit.towers import add_tower_shortcuts

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.fcos import FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from torch import nn

LEVELS = [ShapeSpec(channels=4)] * 2
HEADS = {
    "FCOSHead": lambda **x: FCOSHead(input_shape=LEVELS, num_classes=3, **x),
    "RetinaNetHead": lambda **x: RetinaNetHead(
        input_shape=LEVELS, num_classes=3, num_anchors=2, **x
    ),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("norm", ["", "BN"])
def test_the_sum_stands_between_norm_and_activation(head, norm):
    torch.manual_seed(0)
    made = HEADS[head](conv_dims=[6, 6], norm=norm).eval()
    plain = made.cls_subnet
    add_tower_shortcuts(made)
    tower = made.cls_subnet
    assert isinstance(tower, ShortcutTower) and isinstance(made.bbox_subnet, ShortcutTower)
    assert not tower.training and list(tower.state_dict()) == list(plain.state_dict())
    x = torch.randn(1, 4, 5, 5)
    step = 3 if norm else 2
    first = nn.Sequential(*plain[:step])(x)  # 4 to 6 channels
    # Per-level norms take turns: the second call is the other level's.
    second = nn.Sequential(*plain[step : 2 * step - 1])(first)
    expected = F.relu(second + first)
    made.cls_subnet(x)
    torch.testing.assert_close(tower(x), expected)


def test_binary_towers_have_them_where_the_recipe_says_so():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.head = HEADS["FCOSHead"](conv_dims=[4, 4], norm="BN")

        def forward(self, x):
            return self.head([self.stem(x)] * 2)

    torch.manual_seed(0)
    plain, model = (binarized(Detector(), tower_shortcuts=given) for given in (False, True))
    assert type(plain.head.cls_subnet) is nn.Sequential
    assert isinstance(model.head.cls_subnet, ShortcutTower)
    assert isinstance(model.head.cls_subnet[0], BinaryConv2d)
    assert plain.state_dict().keys() == model.state_dict().keys()
    twin = binarized(Detector(), tower_shortcuts=True, quantizer="none")
    assert isinstance(twin.head.bbox_subnet, ShortcutTower)
    assert type(twin.head.bbox_subnet[0]) is nn.Conv2d
    assert isinstance(twin.head.bbox_subnet[2], nn.PReLU)


def test_a_detector_without_towers_is_named():
    with pytest.raises(ValueError, match="tower_shortcuts: there is no tower"):
        binarized(nn.Sequential(nn.Conv2d(3, 4, 1)), real_layers=[], tower_shortcuts=True)
