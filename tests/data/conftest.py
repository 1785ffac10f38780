import json

import numpy as np
import pytest
from PIL import Image

SIZE = (40, 60)  # height, width of every image


class CocoFolder:
    """A COCO data set in a folder, to be damaged by tests before it is read."""

    def __init__(self, folder, number=6):
        self.folder = folder
        height, width = SIZE
        (folder / "images").mkdir(parents=True)
        random = np.random.default_rng(0)
        self.content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": 7, "name": "mouse"}, {"id": 3, "name": "cat"}],
        }
        for k in range(number):
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
            self.content["images"].append(
                {"id": 10 + k, "file_name": f"{k}.png", "height": height, "width": width}
            )
            self.content["annotations"].append(
                {"id": k + 1, "image_id": 10 + k, "category_id": 3, "bbox": [k, 2, 10, 8 + k]}
            )

    @property
    def json_file(self):
        path = self.folder / "annotations.json"
        path.write_text(json.dumps(self.content))
        return path

    def image(self, k):
        return self.folder / "images" / f"{k}.png"


@pytest.fixture
def coco(tmp_path):
    return CocoFolder(tmp_path / "set")
