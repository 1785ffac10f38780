"""Tiles of an image give what the detector would find on the whole of it."""

import copy

from lowres_d2.modeling.tiles import TiledDetector

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.events import EventStorage
from hypothesis import given, settings
from hypothesis import strategies as st

from toys.detectors import (
    cascade_rcnn,
    faster_rcnn_fpn,
    fcos,
    random_image,
    retinanet,
    training_input,
)
from toys.tiles import RectangleDetector, drawn, rows


def tiled(detector=None, size=100, overlap=30, **more):
    return TiledDetector(detector or RectangleDetector(), size, overlap, **more).eval()


def found(model, image, **more):
    with torch.no_grad():
        return rows(model([{"image": image, **more}])[0])


def expected(rectangles):
    return sorted((*map(float, r[:4]), r[4] // 10, r[4] % 10 / 10) for r in rectangles)


# Of the image of 240 x 310: its seams lie at 70..100, 140..170 and so on.
SCENE = [
    (10, 10, 20, 25, 17),  # on one tile alone
    (75, 40, 95, 60, 28),  # whole on two tiles
    (60, 75, 90, 95, 13),  # cut by the border of one of its two columns, whole in two rows
    (95, 95, 120, 118, 25),  # cut by four tiles
    (140, 141, 169, 170, 36),  # nearly as long as the overlap
    (180, 10, 181, 11, 19),  # a pixel
    (290, 225, 310, 240, 44),  # at the corner of the image
    (0, 200, 30, 240, 41),
    (175, 150, 200, 180, 38),
]


def test_objects_at_seams_are_found_once():
    image = drawn((240, 310), SCENE)
    assert found(tiled(), image) == expected(SCENE)
    assert found(RectangleDetector().eval(), image) == expected(SCENE)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_tiles_go_in_batches(batch_size):
    detector = RectangleDetector()
    assert found(tiled(detector, batch_size=batch_size), drawn((240, 310), SCENE)) == expected(
        SCENE
    )
    numbers = [len(batch) for batch in detector.seen]
    assert sum(numbers) == 12 and set(numbers[:-1]) <= {batch_size}
    assert {size for batch in detector.seen for size in batch} == {(100, 100)}


def test_batches_on_a_cpu_have_few_pixels():
    sizes = (48, 256, 512, 640)
    assert [TiledDetector(RectangleDetector(), size).batch_size for size in sizes] == [4, 4, 1, 1]
    assert TiledDetector(RectangleDetector(), 640, batch_size=7).batch_size == 7
    assert TiledDetector(RectangleDetector().to("meta"), 640).batch_size == 4


@pytest.mark.parametrize("cut_scores_higher", [False, True])
def test_a_whole_box_stays_also_where_a_part_of_it_has_a_higher_score(cut_scores_higher):
    def score(box, size, own):
        at_border = box[0] == 0 or box[1] == 0 or box[2] == size[1] or box[3] == size[0]
        return 0.9 if at_border == cut_scores_higher else 0.1

    boxes = [
        row[:5] for row in found(tiled(RectangleDetector(score=score)), drawn((240, 310), SCENE))
    ]
    assert boxes == [row[:5] for row in expected(SCENE)]


def test_objects_longer_than_the_overlap_are_put_together():
    long = [(20, 40, 230, 60, 15), (250, 20, 262, 220, 26), (60, 110, 130, 180, 37)]
    assert found(tiled(), drawn((240, 310), long)) == expected(long)


def test_objects_larger_than_a_tile_are_found_on_the_whole_image():
    """By a detector that knows no parts of objects."""
    large = [(20, 20, 220, 180, 15), (240, 200, 250, 208, 29)]

    def score(box, size, own):
        at_border = box[0] == 0 or box[1] == 0 or box[2] == size[1] or box[3] == size[0]
        return 0.05 if at_border else own

    # The shrunk object has an edge of other values: thin objects of other classes.
    detector = RectangleDetector(smallest=5, score=score)
    image = drawn((300, 400), large)
    without = found(tiled(detector), image)
    assert [row for row in without if row[5] > 0.1] == expected(large[1:])
    whole = found(tiled(detector, whole_image=True), image)
    boxes = {row[4:]: row[:4] for row in whole if row[5] > 0.1}
    assert boxes.keys() == {(1, 0.5), (2, 0.9)}
    assert boxes[2, 0.9] == (240, 200, 250, 208)  # of a tile, not of the shrunk image
    assert boxes[1, 0.5] == pytest.approx((20, 20, 220, 180), abs=4.01)  # a pixel is four there


def test_the_shrunk_image_fits_a_tile():
    detector = RectangleDetector()
    for size in ((100, 101), (1003, 40), (731, 999), (64, 5000)):
        detector.seen.clear()
        found(tiled(detector, whole_image=True, batch_size=1), drawn(size, []))
        height, width = detector.seen[-1][0]
        assert max(height, width) == 100 and min(height, width) >= 1
        # Both sides alike, to within a pixel.
        assert abs(height / width - size[0] / size[1]) <= 1 / min(max(width, 1), 100)


MODELS = [retinanet, fcos, faster_rcnn_fpn, cascade_rcnn]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("size", [(64, 96), (50, 64)])
def test_an_image_no_larger_than_a_tile_is_the_detectors_own(make, size):
    torch.manual_seed(0)
    detector = make().eval()
    given = {"image": random_image(*size), "height": 2 * size[0], "width": 2 * size[1]}
    with torch.no_grad():
        plain = detector([given])[0]["instances"]
        model = TiledDetector(detector, [64, 96], 20, whole_image=True).eval()
        ours = model([given])[0]["instances"]
    assert plain.image_size == ours.image_size and len(plain)
    for name, value in plain.get_fields().items():
        other = ours.get(name)
        value, other = (getattr(x, "tensor", x) for x in (value, other))
        assert torch.equal(value, other), name


@pytest.mark.parametrize("make", MODELS)
def test_a_batch_gives_what_each_image_gives(make):
    torch.manual_seed(0)
    model = TiledDetector(make(), 64, 20, batch_size=3, whole_image=True).eval()
    batch = [
        {"image": random_image(*size, seed=k)}
        for k, size in enumerate([(70, 90), (64, 64), (90, 70), (40, 150)])
    ]
    with torch.no_grad():
        together = model(batch)
        alone = [model([x])[0] for x in batch]
    for a, b in zip(together, alone, strict=True):
        a, b = a["instances"], b["instances"]
        assert len(a) == len(b) > 0
        torch.testing.assert_close(a.scores, b.scores, rtol=1e-4, atol=1e-5)


def test_detections_are_in_the_frame_that_was_asked_for():
    half = [(2 * x0, 2 * y0, 2 * x1, 2 * y1, v) for x0, y0, x1, y1, v in SCENE]
    assert found(tiled(), drawn((240, 310), SCENE), height=480, width=620) == expected(half)
    output = tiled()([{"image": drawn((240, 310), SCENE), "height": 480, "width": 620}])[0]
    assert output["instances"].image_size == (480, 620)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 1000))
def test_shifting_and_flipping_the_image_does_the_same_to_the_detections(dx, dy, seed):
    """Random rectangles that touch no others, up to the size of the overlap."""
    generator = torch.Generator().manual_seed(seed)
    scene = []
    for row in range(5):
        for column in range(6):
            w, h = torch.randint(2, 27, (2,), generator=generator).tolist()
            x = 40 * column + int(torch.randint(0, 38 - w, (), generator=generator))
            y = 40 * row + int(torch.randint(0, 38 - h, (), generator=generator))
            scene.append(
                (x, y, x + w, y + h, 11 + int(torch.randint(0, 9, (), generator=generator)))
            )
    image, model = drawn((200, 240), scene), tiled()
    assert found(model, image) == expected(scene)
    moved = drawn((200 + dy, 240 + dx), [])
    moved[:, dy:, dx:] = image
    assert found(model, moved) == expected(
        [(a + dx, b + dy, c + dx, d + dy, v) for a, b, c, d, v in scene]
    )
    flipped = [(240 - c, b, 240 - a, d, v) for a, b, c, d, v in scene]
    assert found(model, image.flip(2)) == expected(flipped)
    assert found(model, image.flip(1)) == expected(
        [(a, 200 - d, c, 200 - b, v) for a, b, c, d, v in scene]
    )


def test_what_a_tile_shows_side_by_side_stays():
    """Overlapping objects of one class: their detector has kept both."""

    class Pair(RectangleDetector):
        def _detect(self, x):
            output = super()._detect(x)["instances"]
            again = output[:]
            again.pred_boxes.tensor = again.pred_boxes.tensor + torch.tensor([2.0, 0, 2, 0])
            again.scores = again.scores - 0.05
            return {"instances": type(output).cat([output, again])}

    scene = [(75, 40, 95, 60, 28), (10, 10, 30, 25, 17)]
    second = [(a + 2, b, c + 2, d, v) for a, b, c, d, v in scene]
    boxes = [row[:4] for row in found(tiled(Pair()), drawn((240, 310), scene))]
    assert boxes == sorted(tuple(map(float, r[:4])) for r in [*scene, *second])


def test_classes_are_merged_apart():
    class Both(RectangleDetector):
        def _detect(self, x):
            output = super()._detect(x)["instances"]
            again = output[:]
            again.pred_classes = again.pred_classes + 1
            return {"instances": type(output).cat([output, again])}

    scene = [(75, 40, 95, 60, 28)]
    assert [row[4] for row in found(tiled(Both()), drawn((240, 310), scene))] == [2, 3]


def test_the_most_detections_are_those_of_the_highest_scores():
    most = found(tiled(max_detections=4), drawn((240, 310), SCENE))
    assert sorted(row[5] for row in most) == [0.6, 0.7, 0.8, 0.9] or len(most) == 4
    assert min(row[5] for row in most) >= 0.7


def test_an_image_without_objects_has_none():
    assert found(tiled(whole_image=True), drawn((240, 310), [])) == []


def test_training_is_the_detectors_own():
    torch.manual_seed(0)
    detector = fcos()
    batch = [training_input(96, 128), training_input(64, 64, seed=1)]
    # A copy: the normalizer of FCOS's losses moves with every batch.
    with EventStorage():
        losses = TiledDetector(copy.deepcopy(detector), 32, 8).train()(batch)
        expected = detector.train()(batch)
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[name], value) for name, value in expected.items())


def test_weights_have_the_detectors_names(tmp_path):
    detector, other = fcos(), fcos()
    model = TiledDetector(detector)
    assert [*model.state_dict()] == [*detector.state_dict()]
    report = TiledDetector(other).load_state_dict(model.state_dict())
    assert not report.missing_keys and not report.unexpected_keys
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), detector.parameters(), strict=True)
    )
    state = detector.state_dict()
    first, *_ = state
    state["of_another"] = state.pop(first)
    report = TiledDetector(other).load_state_dict(state, strict=False)
    assert report.missing_keys == [first] and report.unexpected_keys == ["of_another"]
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    third = fcos()
    DetectionCheckpointer(third).load(str(tmp_path / "model.pth"))
    assert all(
        torch.equal(a, b) for a, b in zip(third.parameters(), detector.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 100, "overlap": 100}, "size 100, overlap 100"),
        ({"iou_threshold": 0}, "tiles: iou_threshold=0"),
        ({"seam_threshold": 1.1}, "tiles: seam_threshold=1.1"),
        ({"batch_size": 0}, "tiles: batch_size=0: expected 1 or more"),
        ({"max_detections": 0}, "tiles: max_detections=0"),
        ({"seam_margin": -1}, "tiles: seam_margin=-1"),
        ({"detector": 3}, "tiles: the detector is a int"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TiledDetector(**{"detector": RectangleDetector()} | arguments)


def test_what_cannot_be_cut_is_named():
    image = drawn((240, 310), SCENE)
    with pytest.raises(ValueError, match="input 'depth' may have the image's coordinates"):
        tiled()([{"image": image, "depth": image}])

    class Classifier(RectangleDetector):
        def _detect(self, x):
            return {"scores": torch.zeros(3)}

    with pytest.raises(ValueError, match="tiles are for detectors with boxes, and this one gives"):
        tiled(Classifier())([{"image": image}])
