from lowres_d2.analysis.figures import super_resolved_features
from lowres_d2.analysis.figures.super_resolved_features import (
    follow_region,
    write_super_resolved_features,
)
from lowres_d2.data import DetectionMapper
from lowres_d2.modeling.backbone import AtrousTwin
from lowres_d2.modeling.resample import Bicubic

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes
from PIL import Image

from toys.detectors import random_image
from toys.super_resolution import awaken, super_resolved


def entry(folder, side):
    path = folder / f"{side}.png"
    Image.fromarray(random_image(96, 128, side).permute(1, 2, 0).numpy()).save(path)
    objects = [{"bbox": [20, 20, 20 + side, 20 + side], "bbox_mode": 0, "category_id": 0}]
    return dict(file_name=str(path), height=96, width=128, image_id=side, annotations=objects)


@pytest.mark.parametrize("ratio", [2, 4])
@torch.no_grad()
def test_features_of_a_region_are_those_that_training_compares(ratio):
    torch.manual_seed(0)
    model = super_resolved("faster_rcnn_c4", ratios=(2, 4)).eval()
    box = torch.tensor([20.0, 24.0, 52.0, 48.0])
    inputs = {"image": random_image(96, 128)}
    found = follow_region(model, inputs, box, ratio)
    # An untrained generator is the identity: its output is the smaller image's region.
    assert torch.equal(found.low, found.generated)
    small = Bicubic(ratio)([inputs["image"] / 255])[0]
    low_res = model.backbone(model.preprocess_image([{"image": 255 * small}]).tensor)
    pooled = model.roi_heads._pool(low_res, [Boxes(box[None] / ratio)])
    torch.testing.assert_close(found.low, pooled[0])
    images = model.preprocess_image([inputs])
    twin = AtrousTwin(model.backbone, ratio)(images.tensor)
    # Pooled from what the downsampled region shows: stride 16, and cell 0 is at 1/2 pixel of that
    # image. In the twin, which pools at each stride, it is at half a stride, as the pooler has it.
    shown = box - ratio * (16 / 2 - 1 / 2)
    expected = model.roi_heads._pool(twin, [Boxes(shown[None])])[0]
    torch.testing.assert_close(found.target, expected)
    awaken(model.roi_heads.super_resolution.generators[str(ratio)])
    assert not torch.allclose(follow_region(model, inputs, box, ratio).generated, found.generated)


def test_sheet_has_a_row_for_each_pair(tmp_path):
    models = {name: super_resolved("faster_rcnn_c4").eval() for name in ("naive", "ours")}
    data = [entry(tmp_path, side) for side in (6, 20, 30, 70)]  # pairs are of 12 to 48 px
    mapper = DetectionMapper(is_train=False, image_format="RGB")
    path = write_super_resolved_features(tmp_path / "features.png", data, models, mapper)
    two = Image.open(path).size
    path = write_super_resolved_features(tmp_path / "one.png", data[:2], models, mapper)
    one = Image.open(path).size
    assert two[0] == one[0] and 176 < two[1] - one[1] < 260
    with pytest.raises(ValueError, match="min_target_area"):
        write_super_resolved_features(tmp_path / "none.png", data[:1], models, mapper)


def test_an_object_shows_the_smallest_ratio_at_which_it_is_a_pair_for_all_models(
    tmp_path, monkeypatch
):
    # Pairs are of 24 to 48 px at 2, and of 12 to 48 px at 4; with 2 alone, of 12 to 48 px.
    models = {
        "one": super_resolved("faster_rcnn_c4", ratios=(2, 3, 4)).eval(),
        "other": super_resolved("faster_rcnn_c4", ratios=(2, 4)).eval(),
    }
    data = [entry(tmp_path, side) for side in (6, 20, 30, 70)]
    mapper = DetectionMapper(is_train=False, image_format="RGB")
    shown = []

    def noted(model, inputs, box, ratio):
        shown.append(((box[2] - box[0]).item(), ratio))
        return follow_region(model, inputs, box, ratio)

    monkeypatch.setattr(super_resolved_features, "follow_region", noted)
    write_super_resolved_features(tmp_path / "features.png", data, models, mapper)
    assert shown == [(20, 4), (20, 4), (30, 2), (30, 2)]
    models["one"] = super_resolved("faster_rcnn_c4", ratios=(4,)).eval()
    shown.clear()
    write_super_resolved_features(tmp_path / "features.png", data, models, mapper)
    assert shown == [(20, 4), (20, 4), (30, 4), (30, 4)]


def test_objects_are_where_the_mapper_has_them(tmp_path):
    """Of 6 px, which make a pair from 12 px on: in an image of twice the size they do."""
    models = {"ours": super_resolved("faster_rcnn_c4").eval()}
    data = [entry(tmp_path, 6)]
    mapper = DetectionMapper(False, [T.Resize((192, 256))], "RGB")
    path = write_super_resolved_features(tmp_path / "features.png", data, models, mapper)
    shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
    image = mapper(data[0])["image"].permute(1, 2, 0).numpy()[40:52, 40:52]
    enlarged = np.asarray(Image.fromarray(image).resize((176, 176), Image.Resampling.NEAREST))
    places = [
        top
        for top in range(shown.shape[0] - 176)
        if np.abs(shown[top : top + 176, 16:192] - enlarged).max() <= 8
    ]
    assert len(places) == 1


def test_colours_are_those_of_the_image_whatever_the_mappers_order(tmp_path):
    models = {"ours": super_resolved("faster_rcnn_c4").eval()}
    data = [entry(tmp_path, 20)]
    sheets = []
    for form in ("RGB", "BGR"):
        mapper = DetectionMapper(is_train=False, image_format=form)
        path = write_super_resolved_features(tmp_path / "features.png", data, models, mapper)
        sheets.append(np.asarray(Image.open(path).convert("RGB")))
    both = 16 + 2 * 176  # the object, and its downsampled copy
    assert np.array_equal(sheets[0][:, :both], sheets[1][:, :both])
