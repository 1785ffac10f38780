import pytest
from PIL import Image

HEIGHT, WIDTH = 40, 80


class Writer:
    """Writes images and texts into a folder."""

    def __init__(self, root):
        self.root = root

    def image(self, *names):
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (WIDTH, HEIGHT)).save(path)

    def text(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def yolo(self, yaml="train: images/train\nval: images/val\nnames: [cat, dog]\n"):
        """An object of each class in train, one in val."""
        self.text("data.yaml", yaml)
        self.image("images/train/a.png", "images/train/b.png", "images/val/c.png")
        self.text("labels/train/a.txt", "1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.5 0.5\n")
        self.text("labels/val/c.txt", "0 0.5 0.5 0.1 0.1\n")

    def xml(self, name, *objects):
        """An object is its class and corners, counted from 1."""
        found = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for label, x0, y0, x1, y1 in objects
        )
        self.text(
            name,
            f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{found}"
            "</annotation>",
        )

    def coco(self, name, *files):
        """A COCO file of images with an object each."""
        import json

        content = {
            "images": [
                {"id": k, "file_name": file, "height": HEIGHT, "width": WIDTH}
                for k, file in enumerate(files)
            ],
            "annotations": [
                {"id": k + 1, "image_id": k, "category_id": 3, "bbox": [1, 2, 10, 20]}
                for k, _ in enumerate(files)
            ],
            "categories": [{"id": 3, "name": "cat"}],
        }
        self.text(name, json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    return Writer(tmp_path / "my_data")
