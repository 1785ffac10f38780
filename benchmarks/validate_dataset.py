"""Annotated images per second that one core validates; claims: 200, and 40 with decoding.

    python benchmarks/validate_dataset.py [--images 200]

Images are JPEGs of smooth noise (2.6 bits per pixel, more than most photographs) with random boxes:
some of COCO's size and density, and larger ones with as many objects as aerial images have.
Processor time of one thread is measured, with all checks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import lowres_d2  # noqa: F401  (first: it decides which Detectron2 runs)
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.programs.command import summary_of

import cv2
import numpy as np
import torch
from tabulate import tabulate

# Name -> (height, width) and objects of an image.
KINDS = {"640x480, 8 objects": ((480, 640), 8), "1360x768, 150 objects": ((768, 1360), 150)}
# How far images are read -> claimed images per second.
CLAIMS = {"header": 200.0, "draft": 40.0, "full": 40.0}


def write_data(folder: Path, number: int, size: tuple[int, int], objects: int) -> Path:
    """A COCO data set of random images."""
    random = np.random.default_rng(0)
    height, width = size
    images, annotations = [], []
    for k in range(number):
        grains = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{k}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
        images.append({"id": k + 1, "file_name": f"{k}.jpg", "height": height, "width": width})
        corners = random.uniform(0, [width - 40, height - 40], (objects, 2))
        boxes = np.concatenate([corners, random.uniform(4, 40, (objects, 2))], axis=1)
        annotations += [
            {"id": len(annotations) + n, "image_id": k + 1, "category_id": 1, "bbox": box}
            | {"area": box[2] * box[3], "iscrowd": 0}
            for n, box in enumerate(boxes.tolist(), start=1)
        ]
    content = {"images": images, "annotations": annotations}
    path = folder / "data.json"
    path.write_text(json.dumps(content | {"categories": [{"id": 1, "name": "thing"}]}))
    return path


def rate(path: Path, level: str) -> float:
    """Images per second of processor time."""
    size_ranges = SizeRanges.from_config("coco")
    start = time.process_time()
    findings = Findings()
    split = read_split(path, findings)
    report = validate(
        [split],
        findings,
        dict(zip(size_ranges.names, size_ranges.limits, strict=True)),
        level=level,
    )
    seconds = time.process_time() - start
    if not report.ok:
        raise RuntimeError(f"the generated data have faults: {[*report.findings]}")
    return len(split.images) / seconds


def main() -> int:
    """Print a table; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--images", type=int, default=200)
    number = parser.parse_args().images
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rows, kept = [], True
    for name, (size, objects) in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = write_data(Path(folder), number, size, objects)
            rate(path, "header")  # warms up: some modules are loaded at first use
            for level, claim in CLAIMS.items():
                found = rate(path, level)
                kept = kept and found >= claim
                rows.append([name, level, f"{found:.0f}", f"{claim:g}", f"{found / claim:.2f}"])
    head = ["images", "read", "images per CPU s", "claim", "of claim"]
    print(tabulate(rows, head, disable_numparse=True, stralign="right"))
    return int(not kept)


if __name__ == "__main__":
    raise SystemExit(main())
