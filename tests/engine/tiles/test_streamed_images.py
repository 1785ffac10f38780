"""Images that are read tile by tile: the same detections, and a bounded memory."""

import json
import subprocess
import sys

from lowres_d2.data import BrokenImageError, DetectionMapper
from lowres_d2.data.image import FileImage
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.programs.train import main as train

import numpy as np
import pytest
from detectron2.data import transforms as T
from PIL import Image

from toys.data import ToyData
from toys.tiles import RectangleDetector, drawn, rows

tifffile = pytest.importorskip("tifffile")
SCENE = [(10, 10, 20, 25, 17), (75, 40, 95, 60, 28), (60, 20, 290, 32, 26), (95, 95, 120, 118, 25)]


@pytest.fixture
def image():
    return drawn((240, 310), SCENE)


def files(folder, image):
    tifffile.imwrite(folder / "tiled.tif", image[0].numpy(), tile=(64, 48))
    np.save(folder / "array.npy", image[0].numpy())
    Image.fromarray(image[0].numpy()).save(folder / "whole.png")
    return [folder / name for name in ("tiled.tif", "array.npy", "whole.png")]


@pytest.mark.parametrize("more", [{}, {"whole_image": True}, {"first": 2, "unsure": [0.5, 0.8]}])
def test_detections_are_those_of_the_image_in_memory(tmp_path, image, more):
    model = TiledDetector(RectangleDetector(), 100, 30, **more).eval()
    expected = rows(model([{"image": image}])[0])
    mapper = DetectionMapper(False, image_format="L", windows=True)
    for path in files(tmp_path, image):
        sample = mapper({"file_name": str(path), "image_id": 3, "annotations": []})
        assert isinstance(sample["image"], FileImage) == (path.suffix != ".png")
        assert {k: sample[k] for k in ("height", "width", "image_id")} == {
            "height": 240,
            "width": 310,
            "image_id": 3,
        }
        assert rows(model([sample])[0]) == expected
    small = TiledDetector(RectangleDetector(), 400, 30).eval()
    assert rows(small([sample])[0]) == rows(small([{"image": image}])[0])


def test_the_limit_is_for_files_that_are_decoded_as_a_whole(tmp_path, image):
    mapper = DetectionMapper(False, image_format="L", windows=True, max_pixels=1000)
    tiled, array, whole = files(tmp_path, image)
    for path in (tiled, array):
        assert mapper({"file_name": str(path)})["image"].shape == (1, 240, 310)
    with pytest.raises(BrokenImageError, match="over the limit of 1,000") as caught:
        mapper({"file_name": str(whole)})
    assert "\n" not in str(caught.value)
    with pytest.raises(BrokenImageError, match="is 310x240, but its annotations are for 310x241"):
        mapper({"file_name": str(tiled), "height": 241, "width": 310})
    tiled.write_bytes(tiled.read_bytes()[:60])
    with pytest.raises(
        BrokenImageError, match=r"tiled.tif: is a TIFF of a kind that Pillow does not"
    ):
        mapper({"file_name": str(tiled)})


def test_windows_are_for_evaluation_alone():
    with pytest.raises(ValueError, match="windows=true is for evaluation: training reads whole"):
        DetectionMapper(True, windows=True)
    with pytest.raises(ValueError, match="windows=true is for evaluation without augmentations"):
        DetectionMapper(False, [T.RandomFlip()], windows=True)


def test_evaluation_of_whole_images_reads_them_tile_by_tile(trained, tmp_path):
    data = ToyData(tmp_path / "data")
    for entry in data.content["images"]:
        path = data.images / entry["file_name"]
        tifffile.imwrite(path.with_suffix(".tif"), np.asarray(Image.open(path)), tile=(16, 16))
        entry["file_name"] = path.with_suffix(".tif").name
    data.write()

    def found(name, *more):
        arguments = ["--config-file", "configs/own_data/full_fcos_small_own.py", *data.overrides()]
        weights = f"train.init_checkpoint={trained.file}"
        given = ["dataloader.test.mapper.augmentations=[]", "+tiles={size: 48, overlap: 16}"]
        output = f"train.output_dir={tmp_path / name}"
        train(["--eval-only", *arguments, weights, output, *given, *more])
        return json.loads((tmp_path / name / "coco_instances_results.json").read_text())

    whole = found("whole")
    assert whole == found("windows", "dataloader.test.mapper.windows=true")


MEMORY = """
import resource, sys
import lowres_d2
import torch
from detectron2.structures import Boxes, Instances
from lowres_d2.data import DetectionMapper
from lowres_d2.data.image import windows
from lowres_d2.modeling.tiles import TiledDetector

windows._CACHED = 2**25
class Bright(torch.nn.Module):
    def forward(self, inputs):
        return [{"instances": self.found(x["image"][0])} for x in inputs]

    def found(self, image):
        rows, columns = image.amax(1).nonzero(), image.amax(0).nonzero()
        boxes = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]] if len(rows) else []
        boxes = torch.tensor(boxes).reshape(-1, 4).float()
        zeros = torch.zeros(len(boxes))
        fields = dict(pred_boxes=Boxes(boxes), scores=zeros, pred_classes=zeros.long())
        return Instances(tuple(image.shape), **fields)

mapper = DetectionMapper(False, image_format="L", windows=True)
model = TiledDetector(Bright(), 1500, 64, batch_size=1).eval()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
model([mapper({"file_name": sys.argv[1]})])
before = peak()
found = model([mapper({"file_name": sys.argv[2]})])[0]["instances"]
print(peak() - before, found.image_size, found.pred_boxes.tensor.tolist())
"""


def test_the_memory_does_not_grow_with_the_image(tmp_path):
    side = 12_000  # 144 MB of pixels

    def tiles():
        for k in range((-(-side // 256)) ** 2):
            tile = np.zeros((256, 256), np.uint8)
            if k == 0:
                tile[100:110, 200:212] = 17
            yield tile

    options = dict(tile=(256, 256), compression="zlib")
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((600, 600), np.uint8), **options)
    shape = dict(shape=(side, side), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "large.tif", tiles(), **shape, **options)
    files = [str(tmp_path / name) for name in ("small.tif", "large.tif")]
    command = [sys.executable, "-c", MEMORY, *files]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    megabytes, what = said.strip().split(" ", 1)
    assert what == f"({side}, {side}) [[200.0, 100.0, 212.0, 110.0]]"
    assert int(megabytes) < 80
