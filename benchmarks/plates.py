"""Images per second that one core generates, against a claim of 100, and reads back."""

from __future__ import annotations

import argparse
import tempfile
import time

import lowres_d2  # noqa: F401 (first: it decides which Detectron2 runs)
from lowres_d2.data import DetectionMapper
from lowres_d2.data.plates import PlatesClassification, PlatesDataset
from lowres_d2.programs.command import summary_of

import cv2

CLAIM = 100.0


def rate(make, number: int) -> tuple[float, float]:
    """Images per second of processor time and of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    make(number)
    return number / (time.process_time() - cpu), number / (time.perf_counter() - wall)


def main() -> None:
    """Print a row for each kind of data set."""
    argparse.ArgumentParser(description=summary_of(__file__)).parse_args()
    cv2.setNumThreads(1)
    print(f"{'':24}{'per CPU s':>11}{'per s':>9}{'of claim':>10}")
    with tempfile.TemporaryDirectory() as root:
        mapper = DetectionMapper(is_train=True, image_format="RGB")
        makers = {
            "standard": lambda n: PlatesDataset(root, num_images=n, num_workers=0),
            "tiny": lambda n: PlatesDataset(root, num_images=n, variant="tiny", num_workers=0),
            "classification": lambda n: PlatesClassification(root, num_images=n, num_workers=0),
            "reading (mapper)": lambda n: [mapper(r) for r in PlatesDataset(root, num_images=n)],
        }
        for name, make in makers.items():
            per_cpu_second, per_second = rate(make, 400)
            ratio = per_cpu_second / CLAIM
            print(f"{name:24}{per_cpu_second:11.0f}{per_second:9.0f}{ratio:10.2f}")


if __name__ == "__main__":
    main()
