"""Tiling's own share of the time of a large image, and the whole time beside sahi's.

    python benchmarks/tiles.py [--weights FILE] [--sahi FOLDER]

The detector is that of ``configs/quick``; the image has 4000x3000 pixels, generated plates side by
side. Tiling's own time is what a ``TiledDetector`` takes beyond the calls of its detector: cutting,
batching, merging. sahi is optional and stays outside of this project's environment: ``pip install
--target FOLDER sahi``. Both have the same detector, tiles, overlap, threads and image in memory,
and work in alternating rounds. The claims: a share of at most 10 %, and a ratio of at least 2.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import lowres_d2  # noqa: F401
from lowres_d2.data.plates import PlatesDataset
from lowres_d2.engine.trained import trained_model
from lowres_d2.modeling.tiles import TiledDetector
from lowres_d2.programs.command import summary_of
from lowres_d2.recipes.load import build, load_recipe

import numpy as np
import torch
from PIL import Image
from torch import nn

RECIPE = "configs/quick/full_fcos_small_256_plates.py"
SIZE, OVERLAP = 512, 128
HEIGHT, WIDTH = 3000, 4000


class Timed(nn.Module):
    """A detector, and the seconds that its calls take."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector, self.seconds = detector, 0.0

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        start = time.perf_counter()
        output = self.detector(batched_inputs)
        self.seconds += time.perf_counter() - start
        return output


def plates_image(root: str) -> torch.Tensor:
    """Plates side by side, (3, H, W) uint8."""
    images = [np.asarray(Image.open(x["file_name"])) for x in PlatesDataset(root, "val", 64)]
    rows = [np.concatenate(images[k : k + 16], axis=1) for k in range(0, 64, 16)]
    whole = np.concatenate(rows * 3, axis=0)[:HEIGHT, :WIDTH]
    return torch.from_numpy(whole.transpose(2, 0, 1).copy())


def sahi_job(folder: str, detector: nn.Module, image: torch.Tensor) -> Callable[[], int]:
    """A function that runs sahi once and returns the number of detections."""
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

    def run() -> int:
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
        return len(found.object_prediction_list)

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--weights", help="of the recipe; otherwise random ones")
    parser.add_argument("--sahi", metavar="FOLDER", help="that pip has installed sahi into")
    parser.add_argument("--plates", default="datasets/plates", help="folder of generated plates")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = load_recipe(RECIPE, ["train.device=cpu"])
    model = trained_model(cfg, args.weights)[0] if args.weights else build(cfg, "model")
    timed = Timed(model.eval())
    tiled = TiledDetector(timed, SIZE, OVERLAP, batch_size=args.batch_size).eval()
    image = plates_image(args.plates)
    other = sahi_job(args.sahi, timed, image) if args.sahi else None
    shares, ratios = [], []
    with torch.no_grad():
        for _ in range(args.rounds):
            timed.seconds, start = 0.0, time.perf_counter()
            found = len(tiled([{"image": image}])[0]["instances"])
            seconds = time.perf_counter() - start
            shares.append(1 - timed.seconds / seconds)
            line = f"{seconds:.2f} s, {found} detections, tiling's own {100 * shares[-1]:.1f} %"
            if other:
                start = time.perf_counter()
                number = other()
                ratios.append((time.perf_counter() - start) / seconds)
                line += f"; sahi {ratios[-1]:.2f} times as long, {number} detections"
            print(line, flush=True)
    print(f"median share {100 * statistics.median(shares):.1f} % (claim: at most 10 %)")
    if ratios:
        print(f"median ratio to sahi {statistics.median(ratios):.2f} (claim: at least 2)")


if __name__ == "__main__":
    main()
