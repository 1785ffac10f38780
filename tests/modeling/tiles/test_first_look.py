"""A first look at a thumbnail, then tiles: which ones, and what is found."""

from lowres_d2.modeling.tiles import TiledDetector, counting_tiles
from lowres_d2.modeling.tiles.choice import tiles_of
from lowres_d2.modeling.tiles.shrunk import thumbnail
from lowres_d2.structures import TileGrid

import pytest
import torch

from toys.detectors import faster_rcnn_fpn, fcos, random_image, retinanet
from toys.tiles import RectangleDetector, drawn, rows

# On 400 x 400 pixels, whose tiles of 100 overlap by 30: begin at 0, 70, 140, 210, 280, 300.
SURE, UNSURE = (100, 20, 120, 40, 19), (228, 220, 260, 240, 23)
SCENE = [SURE, UNSURE, (20, 300, 60, 316, 38), (240, 100, 252, 108, 25)]


def looking(detector=None, **more):
    given = {"size": 100, "overlap": 30, "first": 4} | more
    return TiledDetector(detector or RectangleDetector(), **given).eval()


def found(model, image):
    with torch.no_grad():
        return rows(model([{"image": image}])[0])


def share(model, image):
    with torch.no_grad(), counting_tiles(model) as count:
        model([{"image": image}])
    return count()


def expected(rectangles):
    return sorted((*map(float, r[:4]), r[4] // 10, r[4] % 10 / 10) for r in rectangles)


@pytest.mark.parametrize("make", [retinanet, fcos, faster_rcnn_fpn])
def test_with_all_tiles_it_is_all_tiles_and_the_whole_image(make):
    torch.manual_seed(0)
    detector = make().eval()
    # Shrunk to a tile and to a quarter are one size.
    image = random_image(200, 256)
    plain = TiledDetector(detector, [50, 64], 10, whole_image=True).eval()
    model = TiledDetector(detector, [50, 64], 10, first=4, unsure=[0, 1]).eval()
    with torch.no_grad():
        whole, ours = (m([{"image": image}])[0]["instances"] for m in (plain, model))
    assert len(whole) > 10 and share(model, image) == (25, 25)
    torch.testing.assert_close(whole.scores, ours.scores)
    torch.testing.assert_close(whole.pred_boxes.tensor, ours.pred_boxes.tensor)


@pytest.mark.parametrize("size", [(400, 400), (239, 311)])
def test_with_no_tile_it_is_the_thumbnail_alone(size):
    scene = [row for row in SCENE if row[3] <= size[0] and row[2] <= size[1]]
    image, detector = drawn(size, scene), RectangleDetector()
    ours = found(looking(detector, unsure=None), image)
    assert [len(batch) for batch in detector.seen] == [1]
    small, (height, width) = thumbnail(image, 4)
    alone = rows(
        RectangleDetector().eval()([{"image": small, "height": height, "width": width}])[0]
    )
    assert ours == alone and len(alone) >= len(scene) > 1
    assert share(looking(unsure=None), image) == (0, len(TileGrid(100, 30).windows(size)))


def test_its_cost_falls_with_the_share_of_tiles():
    image, shares = drawn((400, 400), SCENE), []
    for unsure in ([0, 1], [0.1, 1], [0.1, 0.8], [0.1, 0.5], [0.1, 0.3], [0.1, 0.2]):
        detector = RectangleDetector()
        looked_at = share(looking(detector, unsure=unsure, tiny=0), image)
        assert looked_at.of == 36
        shares.append(looked_at.tiles)
        assert sum(map(len, detector.seen)) == 1 + looked_at.tiles
    assert shares == [36, 4, 3, 2, 1, 0]


def test_what_is_unsure_is_found_again_on_its_tile():
    """In the thumbnail of half the size objects have a lower score."""

    def score(box, size, own):
        return own if size == (100, 100) else own - 0.05

    model = looking(RectangleDetector(score=score), first=2, unsure=[0.1, 0.4], tiny=0)
    lower = {SURE: 0.85, (20, 300, 60, 316, 38): 0.75, (240, 100, 252, 108, 25): 0.45}
    boxes = [(*map(float, row[:4]), row[4] // 10, lower.get(row, 0.3)) for row in SCENE]
    assert found(model, drawn((400, 400), SCENE)) == sorted(boxes)
    assert share(model, drawn((400, 400), SCENE)).tiles == 1


def test_what_is_tiny_is_found_again_whatever_its_score():
    image = drawn((400, 400), SCENE)
    assert [share(looking(unsure=[0.2, 0.2], tiny=t), image).tiles for t in (9, 10, 21, 99)] == [
        0,
        1,  # of 12 x 8 pixels
        2,
        4,
    ]
    # Not what the detector itself takes for noise.
    assert share(looking(unsure=[0.6, 0.6], tiny=10), image).tiles == 0


def test_a_box_is_of_the_tile_that_has_it_farthest_from_its_seams():
    windows = TileGrid(100, 30).windows((100, 240))  # from 0, 70 and 140
    boxes = [
        [0, 0, 10, 10],
        [72, 0, 80, 10],  # 20 pixels from the first one's seam, 2 from the second's
        [85, 0, 95, 10],
        [60, 0, 150, 100],  # on none as a whole
        [230, 0, 241, 10],  # beyond the image
    ]
    theirs = tiles_of(torch.tensor(boxes).float(), windows, (100, 240)).tolist()
    assert [[k for k, yes in enumerate(row) if yes] for row in theirs] == [
        [0],
        [0],
        [1],
        [0, 1, 2],
        [2],
    ]
    assert tiles_of(torch.zeros(0, 4), windows, (100, 240)).shape == (0, 3)


def test_an_object_at_the_seam_to_a_tile_that_is_not_looked_at_is_found_once():
    across = (300, 216, 316, 236, 19)  # its column of tiles ends at 310
    near = (272, 220, 284, 232, 23)
    model = looking(unsure=[0.1, 0.5], tiny=0)
    assert share(model, drawn((400, 400), [across, near])).tiles == 1
    classes = [row[4:] for row in found(model, drawn((400, 400), [across, near]))]
    assert sorted(classes) == [(1, 0.9), (2, 0.3)]


def test_an_image_no_larger_than_a_tile_is_the_detectors_own():
    detector = RectangleDetector()
    small, large = drawn((90, 100), [(3, 4, 20, 10, 15)]), drawn((400, 400), SCENE)
    model = looking(detector)
    alone, output = model([{"image": small}, {"image": large}])
    assert rows(alone) == expected([(3, 4, 20, 10, 15)]) and "looked_at" not in alone
    assert output["looked_at"].of == 36 and rows(output) == found(model, large)
    assert share(looking(first=None), large) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 1}, "tiles: first=1: expected a whole number, 2 or more"),
        ({"first": 2.5}, "tiles: first=2.5"),
        ({"first": 4, "unsure": [0.5, 0.1]}, "expected two scores, 0 to 1, the lower one first"),
        ({"first": 4, "unsure": 0.5}, "tiles: unsure=0.5"),
        ({"first": 4, "unsure": [0, 1.5]}, "tiles: unsure="),
        ({"first": 4, "tiny": -1}, "tiles: tiny=-1: expected 0 or more pixels"),
        ({"first": 4, "whole_image": True}, "tiles: whole_image=true, first=4"),
        ({"tiny": 8}, "tiles: unsure, tiny: they choose tiles after a first look: set first"),
        ({"unsure": None}, "tiles: unsure, tiny"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TiledDetector(RectangleDetector(), **arguments)
