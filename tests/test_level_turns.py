"""Turns of the levels of a head, of single threads and after exceptions."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import lowres_d2
from lowres_d2.deploy.one_bit import pack
from lowres_d2.level_turns import LevelTurns, start_levels
from lowres_d2.modeling.backbone import SmallShortcutResNet
from lowres_d2.modeling.one_bit import binarized

import pytest
import torch
from detectron2.modeling.meta_arch.fcos import FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from torch import nn

from toys.detectors import CHANNELS, DETECTORS, NUM_CLASSES, _shapes, random_image


def test_levels_take_turns_and_start_anew():
    turns = LevelTurns()
    assert [turns.take(3) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert copy.deepcopy(turns).take(3) == pickle.loads(pickle.dumps(turns)).take(3) == 0
    assert turns.take(3) == 1
    turns.start()
    assert turns.take(3) == 0
    assert [LevelTurns().take(1), LevelTurns().take(1)] == [0, 0]


def test_threads_have_turns_of_their_own():
    turns, together = LevelTurns(), Barrier(3)

    def count(_):
        found = []
        for _ in range(8):
            together.wait(60)
            found.append(turns.take(4))
        return found

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(count, range(3))) == [[0, 1, 2, 3] * 2] * 3


def test_all_turns_in_a_head_start():
    head = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity()))
    head[0].turns, head[1][0].turns = LevelTurns(), LevelTurns()
    head[0].turns.take(3), head[1][0].turns.take(3)
    start_levels(head)
    assert head[0].turns.take(3) == head[1][0].turns.take(3) == 0


def detector(name):
    """In 1 bit, with norms that have other statistics for each level."""
    torch.manual_seed(0)
    model = DETECTORS[name]()
    head, more = (FCOSHead, {}) if name == "fcos" else (RetinaNetHead, dict(num_anchors=3))
    model.head = head(
        input_shape=_shapes(), num_classes=NUM_CLASSES, conv_dims=[CHANNELS] * 2, norm="BN", **more
    )
    model.backbone.bottom_up = SmallShortcutResNet((8, 12, 16, 20, 24))
    for module in model.modules():
        if getattr(module, "running_var", None) is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return binarized(model).eval()


# Upstream's norms of levels count the levels themselves.
FORMS = ["packed"] if lowres_d2.detectron2_provider() == "upstream" else ["trained", "packed"]


@pytest.fixture(scope="module", params=["fcos", "retinanet"])
def pair(request):
    """A trained detector and its packed form."""
    model = detector(request.param)
    return {"trained": model, "packed": pack(model)}


@torch.no_grad()
def predictions(model, image):
    maps = model.backbone(model.preprocess_image([{"image": image}]).tensor)
    found = model.head([maps[name] for name in model.head_in_features])
    return torch.cat([level.flatten() for kind in found for level in kind])


@pytest.mark.parametrize("form", FORMS)
def test_an_exception_between_levels_changes_nothing_later(pair, form):
    model, image = pair[form], random_image(64, 64)
    expected, calls = predictions(model, image), []

    def stop(*_):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("between levels")

    for tower in (model.head.cls_subnet, model.head.bbox_subnet):
        calls.clear()
        hook = tower.register_forward_pre_hook(stop)
        with pytest.raises(RuntimeError, match="between levels"):
            predictions(model, image)
        hook.remove()
        assert torch.equal(predictions(model, image), expected)


@pytest.mark.parametrize("form", FORMS)
def test_threads_predict_as_one_does(pair, form):
    """Which meet in front of each level."""
    model, images = pair[form], [random_image(64, 48), random_image(64, 80)]
    expected = [predictions(model, image) for image in images]
    together = Barrier(2)

    def meet(*_):
        together.wait(20)

    hooks = [
        tower.register_forward_pre_hook(meet)
        for tower in (model.head.cls_subnet, model.head.bbox_subnet)
    ]
    try:
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(predictions, [model] * 2, images))
    finally:
        for hook in hooks:
            hook.remove()
    for ours, right in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, right)
