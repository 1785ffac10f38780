"""MACs and speed of trained models, measured in turns on the same images, with one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from lowres_d2.analysis import Point, measure_points
from lowres_d2.engine.compare import COUNTED_IMAGES, first_images, images_to_time, machine
from lowres_d2.programs.recipe_runs import RecipeRun
from lowres_d2.recipes.load import build

import torch


def measure_runs(
    runs: Sequence[RecipeRun], dataset: Sequence[Mapping], accuracies: Mapping[str, float]
) -> tuple[list[Point], str]:
    """Accuracy, MACs and images per second of each run's model.

    Args:
        runs: finished ones.
        dataset: whose first images are used.
        accuracies: main metric in percent by title.

    Returns:
        A point for each run, and the machine that the speed was measured on.
    """
    models = {run.title: run.model() for run in runs}
    cfg = runs[0].config()
    cfg.dataloader.test.dataset = dataset
    reference = models[runs[0].title]
    on_cpu = next(reference.parameters()).device.type == "cpu"
    images = first_images(build(cfg, "dataloader.test"), COUNTED_IMAGES)
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
