import random

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils.visualizer import ColorMode, VisImage, Visualizer, _create_text_labels
from PIL import Image

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="drawing of the bundled core"
)

GREY = np.full((60, 80, 3), 120, np.uint8)


def predictions(boxes):
    instances = Instances(GREY.shape[:2])
    instances.pred_boxes = Boxes(torch.tensor(boxes))
    instances.scores = torch.linspace(0.9, 0.1, len(boxes))
    instances.pred_classes = torch.arange(len(boxes))
    return instances


def changed(output, background=GREY):
    return (output.get_image() != background).any(axis=2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (([0, 1], [0.987, 0.5], ["cat", "dog"]), ["cat 99%", "dog 50%"]),
        (([3], None, None), ["3"]),
        ((None, [0.25], ["cat"]), ["25%"]),
        (([0, 0], None, ["cat"], [0, 1]), ["cat", "cat|crowd"]),
        ((None, None, ["cat"]), None),
    ],
)
def test_labels_say_class_score_and_crowd(arguments, expected):
    assert _create_text_labels(*arguments) == expected


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.3])
def test_the_drawing_has_the_scaled_size(scale):
    assert VisImage(GREY, scale).get_image().shape == (int(60 * scale), int(80 * scale), 3)


@bundled_only
@pytest.mark.parametrize("scale", [1, 3])
def test_a_box_is_drawn_on_its_border_only(scale):
    output = Visualizer(GREY, scale=scale).draw_box([20, 10, 60, 50], alpha=1.0, edge_color="r")
    ground = np.full((60 * scale, 80 * scale, 3), 120)
    rows, columns = np.nonzero(changed(output, ground))
    assert abs(columns.min() - 20 * scale) <= scale and abs(columns.max() - 60 * scale) <= scale
    assert abs(rows.min() - 10 * scale) <= scale and abs(rows.max() - 50 * scale) <= scale
    assert (output.get_image()[rows, columns] == [255, 0, 0]).all()
    inside = (columns > 22 * scale) & (columns < 58 * scale)
    assert not (inside & (rows > 12 * scale) & (rows < 48 * scale)).any()


@pytest.mark.parametrize(
    ("shape", "scale", "box_line", "line", "four_points"),
    # Pixels of the drawing, measured on upstream.
    [
        ((60, 80), 1, 3.46, 4.63, 5.55),
        ((300, 400), 2, 3.46, 4.63, 11.1),
        ((900, 1200), 1, 3.82, 5.09, 5.55),
        ((60, 80), 4, 5.55, 5.55, 22.2),
        ((300, 400), 0.5, 3.46, 4.63, 2.78),
    ],
)
def test_lines_are_as_wide_as_upstreams(shape, scale, box_line, line, four_points):
    height, width = shape
    ground = np.zeros((height, width, 3), np.uint8)

    def across(output, axis):
        image = output.get_image()[..., 0] / 255
        return image.take(image.shape[axis] // 2, axis).sum()

    box = [width / 4, height / 4, width * 3 / 4, height * 3 / 4]
    drawn = Visualizer(ground, scale=scale).draw_box(box, alpha=1.0, edge_color="w")
    assert across(drawn, 0) / 2 == pytest.approx(box_line, abs=0.55)
    ends = [0, width], [height / 2, height / 2]
    drawn = Visualizer(ground, scale=scale).draw_line(*ends, color="w")
    assert across(drawn, 1) == pytest.approx(line, abs=0.55)
    drawn = Visualizer(ground, scale=scale).draw_line(*ends, color="w", linewidth=4)
    assert across(drawn, 1) == pytest.approx(four_points, abs=0.55)


@bundled_only
def test_alpha_blends():
    image = Visualizer(GREY).draw_box([20, 10, 60, 50], alpha=0.5, edge_color="w").get_image()
    assert image.max() == pytest.approx((120 + 255) / 2, abs=1)


def test_predictions_and_annotations_show():
    drawn = Visualizer(GREY).draw_instance_predictions(predictions([[20.0, 10, 60, 50]]))
    assert changed(drawn).sum() > 100
    annotation = {"bbox": [20, 10, 40, 40], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    annotation |= {"iscrowd": 0}
    drawn = Visualizer(GREY, MetadataCatalog.get("coco_2017_val")).draw_dataset_dict(
        {"annotations": [annotation]}
    )
    assert changed(drawn).sum() > 100


@pytest.mark.parametrize("boxes", [None, np.zeros((0, 4)), Boxes(torch.zeros(0, 4))])
def test_nothing_to_draw_changes_nothing(boxes):
    assert not changed(Visualizer(GREY).overlay_instances(boxes=boxes)).any()


@bundled_only
def test_boxes_come_in_any_container():
    box = [[20.0, 10.0, 60.0, 50.0]]
    containers = [box, np.array(box), torch.tensor(box), Boxes(torch.tensor(box))]
    drawings = [Visualizer(GREY).overlay_instances(boxes=b).get_image() for b in containers]
    assert all((drawing == drawings[0]).all() for drawing in drawings)


@bundled_only
@pytest.mark.parametrize("box", [[70, 50, 80, 60], [0, 0, 3, 3], [-30, -30, 200, 200]])
def test_labels_stay_inside_the_image(box):
    visualizer = Visualizer(GREY)
    alone = Visualizer(GREY).overlay_instances(boxes=[box])
    labelled = visualizer.overlay_instances(boxes=[box], labels=["a label"])
    rows, columns = np.nonzero((alone.get_image() != labelled.get_image()).any(axis=2))
    assert np.ptp(columns) > 25 and np.ptp(rows) > 5  # all of it can be seen


def test_classes_keep_their_colour_in_segmentation_mode():
    metadata = MetadataCatalog.get("test_visualizer_colours")
    metadata.thing_colors = [[255, 0, 0], [0, 255, 0]]
    visualizer = Visualizer(GREY, metadata, instance_mode=ColorMode.SEGMENTATION)
    instances = predictions([[5.0, 5, 35, 55], [42.0, 5, 75, 55]])
    instances.remove("scores")
    image = visualizer.draw_instance_predictions(instances, jittering=False).get_image()
    red, green = image[45, 3:8].astype(int), image[45, 40:45].astype(int)
    assert (red[:, 0] - red[:, 1]).max() > 60 and (green[:, 1] - green[:, 0]).max() > 60


def test_a_grey_image_where_asked():
    original = np.random.RandomState(0).randint(0, 255, (60, 80, 3))
    visualizer = Visualizer(original, instance_mode=ColorMode.IMAGE_BW)
    image = visualizer.draw_instance_predictions(predictions([[1.0, 1, 2, 2]])[:0]).get_image()
    assert np.ptp(image, axis=2).max() == 0
    assert np.abs(image[..., 0] - original.mean(axis=2)).max() <= 1


@bundled_only
def test_drawing_leaves_the_random_state_alone():
    def states():
        numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), numpy_state, torch.get_rng_state().tolist()

    before = states()
    metadata = MetadataCatalog.get("coco_2017_val")
    visualizer = Visualizer(GREY, metadata, instance_mode=ColorMode.SEGMENTATION)
    visualizer.draw_instance_predictions(predictions([[20.0, 10, 60, 50]]))
    assert states() == before


def test_lines_circles_and_texts_show_where_they_are_put(tmp_path):
    for draw, inside in (
        (lambda v: v.draw_line([10, 70], [30, 30], "b"), np.s_[25:35]),
        (lambda v: v.draw_line([10, 70], [30, 30], "b", linestyle="--"), np.s_[25:35]),
        (lambda v: v.draw_circle((40, 30), "y", radius=4), np.s_[24:37, 34:47]),
        (lambda v: v.draw_text("text", (40, 20), horizontal_alignment="center"), np.s_[17:45]),
        (lambda v: v.draw_text("text", (40, 20), rotation=90), np.s_[15:]),
    ):
        visualizer = Visualizer(GREY)
        draw(visualizer)
        different = changed(visualizer.get_output())
        assert different[inside].any() and different.sum() == different[inside].sum()
    visualizer.get_output().save(str(tmp_path / "drawing.png"))
    with Image.open(tmp_path / "drawing.png") as saved:
        assert saved.size == (80, 60)


@bundled_only
@pytest.mark.parametrize(
    "use",
    [
        lambda v: v.overlay_instances(masks=[np.ones((60, 80))]),
        lambda v: v.overlay_instances(boxes=np.zeros((1, 5))),
        lambda v: v.draw_dataset_dict(
            {"annotations": [{"bbox": [9, 9, 4, 4, 45], "bbox_mode": 4}]}
        ),
        lambda v: v.draw_binary_mask(np.ones((60, 80))),
        lambda v: v.draw_sem_seg(np.ones((60, 80))),
    ],
)
def test_masks_and_rotation_need_upstream(use):
    with pytest.raises(NotImplementedError, match="needs upstream"):
        use(Visualizer(GREY))


@bundled_only
@pytest.mark.parametrize("wrong", [{"labels": ["a", "b"]}, {"assigned_colors": []}])
def test_one_label_and_colour_for_each_box(wrong):
    with pytest.raises(ValueError, match="1 boxes"):
        Visualizer(GREY).overlay_instances(boxes=[[0, 0, 5, 5]], **wrong)
