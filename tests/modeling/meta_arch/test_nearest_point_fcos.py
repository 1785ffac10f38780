from __future__ import annotations

from lowres_d2 import row_chunks
from lowres_d2.modeling.meta_arch import nearest_point_fcos
from lowres_d2.modeling.meta_arch.nearest_point_fcos import NearestPointFCOS

import pytest
import torch
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from fvcore.nn import giou_loss
from hypothesis import given, settings
from hypothesis import strategies as st

from toys.detectors import STRIDES, fcos, random_image

SIDE = 96


@pytest.fixture(scope="module")
def model():
    return fcos(NearestPointFCOS)


def _anchors():
    levels = []
    for stride in STRIDES:
        corner = torch.arange(0, SIDE, stride, dtype=torch.float32)
        y, x = (axis.flatten() for axis in torch.meshgrid(corner, corner, indexing="ij"))
        levels.append(Boxes(torch.stack([x, y, x + stride, y + stride], dim=1)))
    return levels


def _square(x, y, side):
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def _positives(model, boxes):
    owners = model.owners(Boxes(torch.tensor(boxes)), _anchors())
    return {m: owners.eq(m).nonzero().flatten().tolist() for m in range(len(boxes))}


def test_an_object_between_cell_centres_gets_the_nearest_cell(model):
    # Centres of the finest level are at 2, 6, 10, ...; this 1 px object contains none of them.
    positives = _positives(model, [_square(44.7, 20.3, 1.0)])
    centres = Boxes.cat(_anchors()).get_centers()
    assert [centres[i].tolist() for i in positives[0]] == [[46.0, 22.0]]


def test_the_level_is_the_finest_whose_scale_fits(model):
    # A thin object of 60 px contains no cell centre of its level, whose sides reach 8 strides of 4.
    for length, level in ((60.0, 0), (70.0, 1)):
        box = [10.0, 48.1, 10.0 + length, 48.3]
        (cell,) = _positives(model, [box])[0]
        firsts = [0]
        for anchors in _anchors():
            firsts.append(firsts[-1] + len(anchors))
        assert firsts[level] <= cell < firsts[level + 1]


def test_objects_that_fcos_gives_cells_keep_exactly_these(model):
    boxes = [_square(30, 30, 25.0), _square(60, 70, 40.0)]
    best, owners = FCOS._match_anchors(model, Boxes(torch.tensor(boxes)), _anchors()).max(dim=0)
    expected = torch.where(best > 0, owners, -1)
    assert torch.equal(model.owners(Boxes(torch.tensor(boxes)), _anchors()), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1, 95), st.floats(1, 95), st.floats(0.5, 60)), min_size=1, max_size=40
    )
)
def test_every_object_has_a_positive_cell(model, objects):
    boxes = [_square(*o) for o in objects]
    assert all(_positives(model, boxes).values())


def test_objects_at_one_place_share_the_cells_around_it(model):
    positives = _positives(model, [_square(46.0, 46.0, 2.0)] * 5)
    assert sorted(len(p) for p in positives.values()) == [1] * 5


def test_of_objects_at_one_place_only_as_many_as_candidates_get_a_cell(model):
    positives = _positives(model, [_square(44.0, 44.0, 4.0)] * 100)
    assert sorted(len(p) for p in positives.values()) == [0] * 36 + [1] * 64


def test_an_object_gets_no_cell_if_the_only_one_is_anothers(model):
    anchors = [Boxes(torch.tensor([[0.0, 0.0, stride, stride]])) for stride in STRIDES]
    boxes = torch.tensor([_square(STRIDES[0] / 2, STRIDES[0] / 2, 2.0)] * 2)
    assert model.owners(Boxes(boxes), anchors[:1]).tolist() == [0]


def test_without_objects_no_cell_is_positive(model):
    assert model.owners(Boxes(torch.zeros(0, 4)), _anchors()).unique().tolist() == [-1]


@pytest.mark.parametrize("kind", [FCOS, NearestPointFCOS])
def test_labels_are_the_same_a_few_objects_at_a_time(kind, monkeypatch):
    detector, generator = fcos(kind), torch.Generator().manual_seed(0)
    corner, side = 70 * torch.rand(2, 60, 2, generator=generator)
    truth = Instances((SIDE, SIDE))
    truth.gt_boxes = Boxes(torch.cat([corner, corner + side / 3], dim=1))
    truth.gt_classes = torch.arange(60) % 3
    (whole,), _ = detector.label_anchors(_anchors(), [truth])
    for module in (row_chunks, nearest_point_fcos):
        monkeypatch.setattr(module, "CHUNK_ENTRIES", 2000)
    (chunked,), _ = detector.label_anchors(_anchors(), [truth])
    assert torch.equal(chunked, whole)
    assert len(whole.unique()) == 4


def test_centre_ness_agrees_with_fcos_in_large_boxes_and_is_finite_everywhere(model):
    upstream = fcos()
    anchors = _anchors()[:1]
    large = torch.tensor(_square(40.0, 40.0, 30.0)).expand(len(anchors[0]), 4)
    ours = model.compute_ctrness_targets(anchors, [large])
    inside = (anchors[0].get_centers() - 40).abs().amax(dim=1) < 15
    expected = upstream.compute_ctrness_targets(anchors, [large])
    torch.testing.assert_close(ours[:, inside], expected[:, inside])
    assert ((ours >= 0) & (ours <= 1)).all()
    tiny = torch.tensor(_square(44.0, 44.0, 0.5)).expand(len(anchors[0]), 4)
    nearest = (anchors[0].get_centers() - 44).norm(dim=1).argmin()
    assert model.compute_ctrness_targets(anchors, [tiny])[0, nearest] >= 1 / 3 - 1e-6


@pytest.mark.parametrize("target", [[50.0, 30.0, 53.0, 39.0], [43.5, 43.5, 44.5, 44.5]])
def test_regression_from_an_anchor_converges_to_any_box(model, target):
    anchor = torch.tensor([[40.0, 40.0, 48.0, 48.0]])
    deltas = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([deltas], 0.01)
    for _ in range(300):
        loss = giou_loss(
            model.box2box_transform.apply_deltas(deltas, anchor), torch.tensor([target])
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_losses_of_objects_that_contain_no_cell_centre_are_finite(model):
    instances = Instances((SIDE, SIDE))
    instances.gt_boxes = Boxes(torch.tensor([_square(44.0, 20.0, 1.0), _square(60.3, 71.1, 2.0)]))
    instances.gt_classes = torch.tensor([0, 2])
    with EventStorage():
        losses = model.train()([{"image": random_image(SIDE, SIDE), "instances": instances}])
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_images_without_objects_train(model):
    empty = Instances((SIDE, SIDE))
    empty.gt_boxes, empty.gt_classes = Boxes(torch.zeros(0, 4)), torch.zeros(0, dtype=torch.long)
    with EventStorage():
        losses = model.train()([{"image": random_image(SIDE, SIDE), "instances": empty}] * 2)
    assert losses["loss_fcos_cls"] > 0 and losses["loss_fcos_loc"] == 0
