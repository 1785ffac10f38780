"""A small valid COCO data set in a folder, for tests to corrupt."""

import json

import numpy as np
from PIL import Image

SIDE = 64  # of every image, in pixels
CLASSES = ["red", "green"]


class ToyData:
    """Bright squares on noise, one an image, of two classes in turn.

    Attributes:
        content: content of the json file; tests change it before :meth:`write`.
    """

    def __init__(self, folder, number=4, seed=0):
        self.folder, self.json_file = folder, folder / "all.json"
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        random = np.random.default_rng(seed)
        images, annotations = [], []
        for k in range(number):
            pixels = random.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
            x, y, side = (int(v) for v in random.integers((4, 4, 12), (28, 28, 30)))
            pixels[y : y + side, x : x + side, k % 2] = 250
            Image.fromarray(pixels).save(self.images / f"{k}.png")
            name = {"file_name": f"{k}.png", "width": SIDE, "height": SIDE}
            box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
            images.append({"id": 10 + k} | name)
            annotations.append({"id": 1 + k, "image_id": 10 + k, "category_id": 3 + k % 2} | box)
        categories = [{"id": 3 + k, "name": name} for k, name in enumerate(CLASSES)]
        self.content = {"images": images, "annotations": annotations, "categories": categories}

    def write(self):
        """Write the json file with the present content."""
        self.json_file.write_text(json.dumps(self.content))
        return self.json_file

    def overrides(self):
        """Overrides of an own-data recipe: two iterations on these images at their own size."""
        return [
            f"data.train_json={self.json_file}",
            f"data.val_json={self.json_file}",
            "train.device=cpu",
            "train.max_iter=2",
            "train.eval_period=0",
            "train.log_period=1",
            "dataloader.train.total_batch_size=2",
            "dataloader.train.num_workers=0",
            "dataloader.test.num_workers=0",
            f"dataloader.train.mapper.augmentations.0.short_edge_length={SIDE}",
            f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}",
        ]
