"""Toy runs: a recipe, a data set of squares for it, and overrides."""

import json

import numpy as np
from PIL import Image

RECIPE = "configs/own_data/full_fcos_small_own.py"

ANY_FACTOR = (
    "model._target_=lowres_d2.modeling.meta_arch.AnyFactorDetector",
    "model.resampler._target_=lowres_d2.modeling.resample.AnyFactor",
    "+model.resampler.resamplers=[{_target_: lowres_d2.modeling.resample.Identity},"
    "{_target_: lowres_d2.modeling.resample.LearnedDownsampler, factor: 2}]",
    "+model.resampler.factor=2",
)  # overrides that make a toy run's detector one for factors 1 and 2


def write_coco(folder, number=6, size=64):
    """Bright squares of two classes on grey, as a COCO json and PNG files."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    (folder / "images").mkdir(parents=True)
    for k in range(number):
        image = np.full((size, size, 3), 90, np.uint8)
        x, y, side = (int(v) for v in generator.integers((4, 4, 12), (28, 28, 30)))
        image[y : y + side, x : x + side, k % 2] = 250
        Image.fromarray(image).save(folder / "images" / f"{k}.png")
        images.append({"id": k + 1, "file_name": f"{k}.png", "width": size, "height": size})
        box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
        annotations.append({"id": k + 1, "image_id": k + 1, "category_id": 3 + k % 2, **box})
    categories = [{"id": 3, "name": "red"}, {"id": 4, "name": "green"}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    path = folder / "all.json"
    path.write_text(json.dumps(data))
    return path
