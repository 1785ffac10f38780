"""A small valid COCO data set in a folder, for tests to train on or to corrupt."""

import json

import numpy as np
from PIL import Image
from PIL import __version__ as pillow

from toys.runs import run_overrides

SIDE = 64  # of every image, in pixels
CLASSES = ["red", "green"]
# Before 13, Pillow takes uncompressed YCbCr for four channels, and finds the file truncated.
READS_YCBCR = int(pillow.partition(".")[0]) >= 13


class ToyData:
    """Bright squares, one an image, of two classes in turn.

    Args:
        folder: takes the images and the json file.
        number: number of images.
        seed: of squares and noise.
        noise: whether the background is noise, and not grey.
        first_id: id of the first image.

    Attributes:
        content: content of the json file; tests change it before :meth:`write`.
    """

    def __init__(self, folder, number=4, seed=0, noise=True, first_id=10):
        self.folder, self.json_file = folder, folder / "all.json"
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        random = np.random.default_rng(seed)
        images, annotations = [], []
        for k in range(number):
            pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
            if noise:
                pixels = random.integers(60, 120, pixels.shape, dtype=np.uint8)
            x, y, side = (int(v) for v in random.integers((4, 4, 12), (28, 28, 30)))
            pixels[y : y + side, x : x + side, k % 2] = 250
            Image.fromarray(pixels).save(self.images / f"{k}.png")
            name = {"file_name": f"{k}.png", "width": SIDE, "height": SIDE}
            box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
            of = {"image_id": first_id + k, "category_id": 3 + k % 2}
            images.append({"id": first_id + k} | name)
            annotations.append({"id": 1 + k} | of | box)
        categories = [{"id": 3 + k, "name": name} for k, name in enumerate(CLASSES)]
        self.content = {"images": images, "annotations": annotations, "categories": categories}

    def write(self):
        """Write the json file with the present content."""
        self.json_file.write_text(json.dumps(self.content))
        return self.json_file

    def overrides(self):
        """Overrides of an own-data recipe: two iterations on these images at their own size."""
        return [
            *run_overrides(self.json_file, iterations=2, log_period=1),
            f"dataloader.train.mapper.augmentations.0.short_edge_length={SIDE}",
            f"dataloader.test.mapper.augmentations.0.short_edge_length={SIDE}",
        ]


def write_coco(folder, number=6):
    """Squares on grey, with ids from 1; the json file."""
    return ToyData(folder, number, noise=False, first_id=1).write()
