"""MACs and speed of trained detectors, measured in turns on the same images, with one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from lowres_d2.analysis import Point, measure_points
from lowres_d2.data.datasets import BoxDataset
from lowres_d2.engine.compare import COUNTED_IMAGES, images_to_time, machine
from lowres_d2.programs.recipe_runs import RecipeRun

import torch
from detectron2.config import instantiate


def measure_runs(
    runs: Sequence[RecipeRun], dataset: BoxDataset, accuracies: Mapping[str, float]
) -> tuple[list[Point], str]:
    """Accuracy, MACs and images per second of each run's detector.

    Args:
        runs: finished ones.
        dataset: whose first images are used.
        accuracies: AP in percent by title.

    Returns:
        A point for each run, and the machine that the speed was measured on.
    """
    models = {run.title: run.model() for run in runs}
    mapper = instantiate(runs[0].config().dataloader.test.mapper)
    reference = models[runs[0].title]
    on_cpu = next(reference.parameters()).device.type == "cpu"
    images = [mapper(dataset[k]) for k in range(min(COUNTED_IMAGES, len(dataset)))]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        points = measure_points(
            models,
            accuracies,
            images,
            images_to_time(images, reference),
            # On a CPU that others use, too, only the time that was spent here counts.
            clock=time.thread_time if on_cpu else time.perf_counter,
        )
        return points, machine(reference)
    finally:
        torch.set_num_threads(threads)
