from lowres_d2.analysis.super_resolved_features import (
    follow_region,
    write_super_resolved_features,
)
from lowres_d2.data import DetectionMapper

import pytest
import torch
from detectron2.structures import Boxes
from PIL import Image
from toy_detectors import picture
from toy_super_resolution import awaken, super_resolved


def entry(folder, side):
    path = folder / f"{side}.png"
    Image.fromarray(picture(96, 128, side).permute(1, 2, 0).numpy()).save(path)
    objects = [{"bbox": [20, 20, 20 + side, 20 + side], "bbox_mode": 0, "category_id": 0}]
    return dict(file_name=str(path), height=96, width=128, image_id=side, annotations=objects)


@torch.no_grad()
def test_a_regions_way_is_what_training_compares():
    torch.manual_seed(0)
    model = super_resolved("faster_rcnn_c4").eval()
    box = torch.tensor([20.0, 24.0, 52.0, 48.0])
    inputs = {"image": picture(96, 128)}
    found = follow_region(model, inputs, box, 2)
    # Untrained, the generator gives what it got: the region of half the size, in half the picture.
    assert torch.equal(found.low, found.generated)
    small = model.reducers["2"]([inputs["image"] / 255])[0]
    half = model.backbone(model.preprocess_image([{"image": 255 * small}]).tensor)
    pooled = model.roi_heads._pool(half, [Boxes(box[None] / 2)])
    torch.testing.assert_close(found.low, pooled[0])
    images = model.preprocess_image([inputs])
    twin = model._make_twin(2)(images.tensor)
    torch.testing.assert_close(found.target, model.roi_heads._pool(twin, [Boxes(box[None])])[0])
    awaken(model.roi_heads.super_resolution.generators)
    assert not torch.allclose(follow_region(model, inputs, box, 2).generated, found.generated)


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
