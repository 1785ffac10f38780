"""Processor time that the start-up report adds to a run, against a claim of at most 2 s.

    python benchmarks/startup_report.py --images 100000

A COCO file of ``--images`` images with 1 to 14 objects each is written and read; then each recipe's
report is made, on one core without a GPU. That is the slowest case, because anchors of 800-pixel
images are matched there. A run reads the file in any case, so reading does not count.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import lowres_d2  # noqa: F401 (first: it decides which Detectron2 runs)
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.engine.build import build_model
from lowres_d2.engine.startup.report import StartUp, start_up_report
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import torch

CLAIM = 2.0  # seconds
TEST_IMAGES = 5000  # as in COCO's val2017
RECIPES = (
    "full_retinanet_r50_800",
    "full_fcos_r50_800",
    "full_faster_rcnn_fpn_r50_800",
    "bicubic4_fcos_r50_200",
)


def write_coco(path: Path, number: int) -> None:
    """A COCO file without images: 80 classes, boxes of 4 to 150 px a side."""
    draw = random.Random(0)
    images, annotations = [], []
    for k in range(number):
        images.append({"id": k, "file_name": f"{k:012d}.jpg", "height": 480, "width": 640})
        for _ in range(draw.randint(1, 14)):
            width, height = draw.uniform(4, 150), draw.uniform(4, 150)
            x, y = draw.uniform(0, 640 - width), draw.uniform(0, 480 - height)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": k,
                    "category_id": draw.randint(1, 80),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": k + 1, "name": f"class {k}"} for k in range(80)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    torch.set_num_threads(1)
    data = {}
    with tempfile.TemporaryDirectory() as folder:
        for split, size in (("train", images), ("test", min(images, TEST_IMAGES))):
            path = Path(folder, f"{split}.json")
            write_coco(path, size)
            started = time.process_time()
            data[split] = CocoDataset(path, check_images=False)
            print(f"{split}: {size:,} images read in {time.process_time() - started:.1f} s")
    print(f"{'report of':32}{'CPU s':>8}{'of claim':>10}")
    for name in RECIPES:
        cfg = load_recipe(f"configs/coco/{name}_coco_1x.py", ["train.device=cpu"])
        for split, dataset in data.items():
            cfg.dataloader[split].dataset = dataset
        run = StartUp(cfg, build_model(cfg), build(cfg, "dataloader.evaluator"), "train", None)
        started = time.process_time()
        text = start_up_report(run)
        spent = time.process_time() - started
        print(f"{name:32}{spent:8.2f}{spent / CLAIM:10.2f}", flush=True)
    print(text)


if __name__ == "__main__":
    main()
