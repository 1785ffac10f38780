from __future__ import annotations

from lowres_d2.analysis.figures.sheets import panel_side
from lowres_d2.analysis.figures.thumbnails import write_thumbnails
from lowres_d2.analysis.figures.views import Seen, model_view
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.resample import Bicubic

import numpy as np
from detectron2.structures import BoxMode
from PIL import Image
from torch import nn


def entry(folder):
    file = folder / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    box = {"bbox": [10, 10, 20, 20], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    size = {"height": 64, "width": 96}
    return {"file_name": str(file), "image_id": 0, "annotations": [box], **size}


def test_each_variant_is_beside_the_original_in_square_pixels(tmp_path):
    record = entry(tmp_path)
    bicubic = model_view(LowResDetector(nn.Identity(), Bicubic(4)))
    dead = lambda _: Seen(np.float32([[[0, 2, 0]]]), 96.0)  # noqa: E731
    path = write_thumbnails(
        tmp_path / "new" / "t.png", [record], {"bicubic": bicubic, "dead": dead}
    )
    sheet, side = np.asarray(Image.open(path).convert("RGB")), panel_side(3)
    assert sheet.shape[1] == 3 * side + 4 * 16
    height = side * 64 // 96
    top = int((sheet[:, -16 - side // 2] == (0, 255, 0)).all(-1).argmax())
    middle = sheet[top : top + height, 32 + side : 32 + 2 * side]
    expected = bicubic(record).pixels  # (16, 24, 3)
    rows = ((np.arange(16) + 0.5) * height / 16).astype(int)
    columns = ((np.arange(24) + 0.5) * side / 24).astype(int)
    assert np.abs(middle[rows[:, None], columns].astype(int) - expected).max() <= 6
