"""Tiling's own share of the time of a large image, and the whole time beside sahi's; its memory.

    python benchmarks/tiles.py [--weights FILE] [--sahi FOLDER]
    python benchmarks/tiles.py --tiff 20000 [--weights FILE]

The detector is that of ``configs/quick``; the image has 4000x3000 pixels, generated plates side by
side. Tiling's own time is what a ``TiledDetector`` takes beyond the calls of its detector: cutting,
batching, merging. sahi is optional and stays outside of this project's environment: ``pip install
--target FOLDER sahi``. Both have the same detector, tiles, overlap, threads and image in memory,
and work in alternating rounds. The claims: a share of at most 10 %, and a ratio of at least 2. On a
CPU the second is out of reach where the detector takes most of both times: the table also says what
the ratio would be if tiling took no time at all. Times are this process's CPU time, which other
programs disturb less. AP is that of the one image, whose plates are known.

With --tiff the peak memory over a tiled RGB TIFF of that side is measured, read window by window;
the file is written to a temporary folder. The claim: at most 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import resource
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lowres_d2  # noqa: F401
from lowres_d2.data import DetectionMapper
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.engine.trained import trained_model
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

RECIPE = "configs/quick/full_fcos_small_256_plates.py"
SIZE, OVERLAP = 512, 128
HEIGHT, WIDTH = 3000, 4000
PLATE = 256  # side of a plate, in pixels
Found = tuple[list[list[float]], list[float], list[int]]  # boxes (XYXY), scores, classes


class Timed(nn.Module):
    """A detector, and the seconds of CPU time that its calls take."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector, self.seconds = detector, 0.0

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        start = time.process_time()
        output = self.detector(batched_inputs)
        self.seconds += time.process_time() - start
        return output


def plates_image(root: str) -> tuple[torch.Tensor, COCO]:
    """Plates side by side, (3, H, W) uint8, and their objects."""
    records = [*PlatesDataset(root, "val", 64)]
    images = [np.asarray(Image.open(record["file_name"])) for record in records]
    rows = [np.concatenate(images[k : k + 16], axis=1) for k in range(0, 64, 16)]
    whole = np.concatenate(rows * 3, axis=0)[:HEIGHT, :WIDTH]
    objects = []
    for row, column in itertools.product(range(12), range(16)):
        for thing in records[(16 * row + column) % 64]["annotations"]:
            x, y, w, h = thing["bbox"]
            x, y = x + PLATE * column, y + PLATE * row
            beyond = x + w > WIDTH or y + h > HEIGHT
            box = {"bbox": [x, y, w, h], "area": w * h, "iscrowd": int(beyond)}
            objects.append(
                box | {"id": len(objects) + 1, "image_id": 1, "category_id": thing["category_id"]}
            )
    classes = [{"id": k, "name": str(k)} for k in sorted({x["category_id"] for x in objects})]
    content = {"images": [{"id": 1}], "annotations": objects, "categories": classes}
    truth = COCO()
    truth.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return torch.from_numpy(whole.transpose(2, 0, 1).copy()), truth


def average_precision(truth: COCO, found: Found) -> float:
    """AP in percent of an image's detections, all of them."""
    rows = [
        {"image_id": 1, "category_id": k, "score": s, "bbox": [x, y, x1 - x, y1 - y]}
        for (x, y, x1, y1), s, k in zip(*found, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.params.maxDets = [len(rows)]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])
    return 100 * float(precision[precision > -1].mean())


def ours(tiled: TiledDetector, image: torch.Tensor) -> Found:
    """What a detector in tiles finds."""
    found = tiled([{"image": image}])[0]["instances"]
    return found.pred_boxes.tensor.tolist(), found.scores.tolist(), found.pred_classes.tolist()


def sahi_job(folder: str, detector: nn.Module, image: torch.Tensor) -> Callable[[], Found]:
    """A function that runs sahi once and returns its detections."""
    sys.path.append(folder)  # behind this project's own packages
    from sahi.models.base import DetectionModel
    from sahi.predict import get_sliced_prediction
    from sahi.prediction import ObjectPrediction

    pixels = image.permute(1, 2, 0).contiguous().numpy()

    class Adapter(DetectionModel):
        def load_model(self) -> None:
            self.model = detector

        def perform_inference(self, image: np.ndarray) -> None:
            tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
            self._original_predictions = self.model([{"image": tensor}])[0]["instances"]

        def _create_object_prediction_list_from_original_predictions(
            self, shift_amount_list: Any = None, full_shape_list: Any = None
        ) -> None:
            found = self._original_predictions
            values = zip(
                found.pred_boxes.tensor.tolist(),
                found.scores.tolist(),
                found.pred_classes.tolist(),
                strict=True,
            )
            self._object_prediction_list_per_image = [
                [
                    ObjectPrediction(
                        bbox=box,
                        score=score,
                        category_id=label,
                        category_name=str(label),
                        shift_amount=shift_amount_list[0],
                        full_shape=full_shape_list[0],
                    )
                    for box, score, label in values
                ]
            ]

    model = Adapter(confidence_threshold=0.0, device="cpu", category_mapping={"0": "0"})

    def run() -> Found:
        found = get_sliced_prediction(
            pixels,
            model,
            slice_height=SIZE,
            slice_width=SIZE,
            overlap_height_ratio=OVERLAP / SIZE,
            overlap_width_ratio=OVERLAP / SIZE,
            perform_standard_pred=False,
            postprocess_type="NMS",
            postprocess_match_metric="IOU",
            verbose=0,
        )
        things = found.object_prediction_list
        boxes = [thing.bbox.to_xyxy() for thing in things]
        return boxes, [x.score.value for x in things], [x.category.id for x in things]

    return run


def tiles_of_plates(image: torch.Tensor, side: int) -> Iterator[bytes]:
    """The compressed tiles of a TIFF, a plate each."""
    pixels = image.permute(1, 2, 0).numpy()
    plates = {
        (row, column): zlib.compress(
            pixels[PLATE * row :, PLATE * column :][:PLATE, :PLATE].tobytes(), 1
        )
        for row, column in itertools.product(range(4), range(15))
    }
    number = -(-side // PLATE)
    for row, column in itertools.product(range(number), range(number)):
        yield plates[row % 4, column % 15]


def peak_memory() -> float:
    """Of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure_memory(tiled: TiledDetector, image: torch.Tensor, side: int) -> None:
    """Write a TIFF of plates, look at it in tiles, and print the peak memory."""
    import tifffile

    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = Path(folder, "plates.tif")
        options = {"shape": (side, side, 3), "dtype": np.uint8, "photometric": "rgb"}
        tiles = tiles_of_plates(image, side)
        tifffile.imwrite(file, tiles, tile=(PLATE, PLATE), compression="zlib", **options)
        mapper = DetectionMapper(False, image_format="RGB", windows=True)
        sample = mapper({"file_name": str(file)})
        before, start = peak_memory(), time.process_time()
        found = len(tiled([sample])[0]["instances"])
        seconds = time.process_time() - start
        size = file.stat().st_size / 2**20
    print(
        f"{side}x{side} TIFF of {size:.0f} MB: {found} detections, {seconds:.0f} s of CPU time; "
        f"peak memory {peak_memory():.2f} GB, {before:.2f} GB before (claim: at most 2 GB)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--weights", help="of the recipe; otherwise random ones")
    parser.add_argument("--sahi", metavar="FOLDER", help="that pip has installed sahi into")
    parser.add_argument("--plates", default="datasets/plates", help="folder of generated plates")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, help="default: TiledDetector's own")
    parser.add_argument("--tiff", type=int, metavar="SIDE", help="measure the memory over a TIFF")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = load_recipe(RECIPE, ["train.device=cpu"])
    model = trained_model(cfg, args.weights)[0] if args.weights else build(cfg, "model")
    image, truth = plates_image(args.plates)
    timed = Timed(model.eval())
    tiled = TiledDetector(timed, SIZE, OVERLAP, batch_size=args.batch_size).eval()
    if args.tiff:
        measure_memory(tiled, image, args.tiff)
        return
    other = sahi_job(args.sahi, timed, image) if args.sahi else None
    shares, ratios, bounds = [], [], []
    with torch.no_grad():
        for _ in range(args.rounds):
            timed.seconds, start = 0.0, time.process_time()
            found = ours(tiled, image)
            seconds, alone = time.process_time() - start, timed.seconds
            shares.append(1 - alone / seconds)
            line = f"{seconds:.2f} s, {len(found[0])} detections, AP "
            line += f"{average_precision(truth, found):.2f}, own {100 * shares[-1]:.1f} %"
            if other:
                timed.seconds, start = 0.0, time.process_time()
                theirs = other()
                whole = time.process_time() - start
                ratios.append(whole / seconds)
                bounds.append(whole / timed.seconds)
                line += f"; sahi {whole:.2f} s, {len(theirs[0])} detections, AP "
                line += f"{average_precision(truth, theirs):.2f}, own {1 - 1 / bounds[-1]:.1%}"
            print(line, flush=True)
    print(f"median share {100 * statistics.median(shares):.1f} % (claim: at most 10 %)")
    if ratios:
        print(
            f"median ratio to sahi {statistics.median(ratios):.2f} (claim: at least 2; with this "
            f"detector at most {statistics.median(bounds):.2f}, as tiling that takes no time)"
        )


if __name__ == "__main__":
    main()
