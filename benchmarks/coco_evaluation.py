"""Time and memory of the evaluation of boxes beside pycocotools, with the same arrays.

    python benchmarks/coco_evaluation.py [--images 500] [--quick]

Each image has 100 objects and 1500 detections, all of which count, in all sizes and five size
ranges, of 8 classes and of one. Measured from ground truth and detections as dicts on: processor
time of one thread, of ours the median of three, and by how much the peak memory of a process of
its own rises. The claims: pycocotools takes 75 times as long (8 classes) and 50 times (one class),
and three times the memory; precision and recall are equal to 1e-9. ``--quick`` checks the last of
these on one image.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import math
import multiprocessing
import os
import resource
import sys
import time
from typing import NamedTuple

import lowres_d2  # noqa: F401
from lowres_d2.evaluation import score_boxes
from lowres_d2.evaluation.coco_engine import COCO_IOU_THRESHOLDS
from lowres_d2.programs.command import summary_of

import numpy as np

CLAIMS = {8: 75, 1: 50}  # classes, and how many times as long pycocotools takes
MEMORY_CLAIM = 3
CAPS = (1, 10, 1500)
EDGES = (0, 8, 16, 32, 96, math.inf)
AREAS = [(0.0, math.inf), *((a**2, b**2) for a, b in itertools.pairwise(EDGES))]
OBJECTS, DETECTIONS = 100, 1500
FEW = 150  # detections of --quick


class Measured(NamedTuple):
    """Seconds of processor time, megabytes, precision (T, R, K, A) and recall (T, K, A, M)."""

    seconds: float
    megabytes: float
    precision: np.ndarray
    recall: np.ndarray


def scenes(images: int, classes: int, detections: int = DETECTIONS) -> tuple[dict, list[dict]]:
    """Ground truth and results: several detections near each object, a fifth of another class."""
    draw, objects, found = np.random.default_rng(0), [], []
    for image_id in range(1, images + 1):
        sides = np.exp(draw.uniform(np.log(3), np.log(300), (OBJECTS, 2)))
        boxes = np.concatenate([draw.uniform(0, 1800, (OBJECTS, 2)), sides], axis=1)
        labels = draw.integers(0, classes, OBJECTS)
        crowds = draw.random(OBJECTS) < 0.02
        for box, label, crowd in zip(boxes.tolist(), labels.tolist(), crowds.tolist(), strict=True):
            ids = {"id": len(objects) + 1, "image_id": image_id, "category_id": label}
            objects.append(ids | {"bbox": box, "area": box[2] * box[3], "iscrowd": int(crowd)})
        near = draw.integers(0, OBJECTS, detections)
        moved = boxes[near] + draw.normal(0, 0.15, (detections, 4)) * np.tile(sides[near], 2)
        moved[:, 2:] = moved[:, 2:].clip(0.5)
        other = draw.integers(0, classes, detections)
        own = np.where(draw.random(detections) < 0.8, labels[near], other)
        scores = draw.random(detections)
        found += [
            {"image_id": image_id, "category_id": label, "bbox": box, "score": score}
            for box, label, score in zip(moved.tolist(), own.tolist(), scores.tolist(), strict=True)
        ]
    truth = {
        "images": [{"id": k} for k in range(1, images + 1)],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": objects,
    }
    return truth, found


def by_ours(truth: dict, found: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of this project's evaluation."""
    scores = score_boxes(truth, found, AREAS, CAPS, COCO_IOU_THRESHOLDS)
    return scores.precision, scores.recall


def by_pycocotools(truth: dict, found: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(found), "bbox")
        run.params.areaRng, run.params.areaRngLbl = AREAS, [str(k) for k in range(len(AREAS))]
        run.params.maxDets = list(CAPS)
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][..., -1], run.eval["recall"]


ENGINES = {"ours": by_ours, "pycocotools": by_pycocotools}
ROUNDS = {"ours": 3, "pycocotools": 1}  # one second is soon disturbed, a hundred are not


def measure(engine: str, images: int, classes: int, detections: int = DETECTIONS) -> Measured:
    """Evaluate generated scenes once."""
    truth, found = scenes(images, classes, detections)
    ENGINES[engine](*scenes(1, classes, FEW))  # imports, and memory of the first use, do not count
    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    arrays = ENGINES[engine](truth, found)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(seconds, (peak - before) * unit / 1e6, *arrays)


def main() -> None:
    """Print a row for each number of classes; exit with 1 where a claim is missed."""
    parser = argparse.ArgumentParser(description=summary_of(__file__))
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument(
        "--quick", action="store_true", help="two images, only whether arrays agree"
    )
    args = parser.parse_args()
    if not args.quick:  # of the processes below
        os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    print(f"{'classes':>7}{'pycocotools':>20}{'ours':>18}{'time':>9}{'memory':>9}  difference")
    missed = False
    for classes, claim in CLAIMS.items():
        if args.quick:
            found = {engine: measure(engine, 1, classes, FEW) for engine in ENGINES}
        else:
            found = {}
            for engine in ENGINES:
                rounds = [(engine, args.images, classes)] * ROUNDS[engine]
                with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                    measured = pool.starmap(measure, rounds, chunksize=1)
                found[engine] = sorted(measured, key=lambda x: x.seconds)[len(rounds) // 2]
        ours, theirs = found["ours"], found["pycocotools"]
        difference = max(
            float(np.abs(getattr(ours, key) - getattr(theirs, key)).max())
            for key in ("precision", "recall")
        )
        faster = theirs.seconds / ours.seconds
        smaller = theirs.megabytes / max(ours.megabytes, 1)
        print(
            f"{classes:7}{theirs.seconds:9.1f} s{theirs.megabytes:6.0f} MB{ours.seconds:8.2f} s"
            f"{ours.megabytes:5.0f} MB{faster:7.0f} x{smaller:7.1f} x  {difference:.1g}",
            flush=True,
        )
        missed |= difference > 1e-9
        missed |= not args.quick and (faster < claim or smaller < MEMORY_CLAIM)
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
