"""Programs that need boxes name the way for models that find none."""

from __future__ import annotations

import json

from lowres_d2.evaluation.classification import TASK as CLASSIFICATION
from lowres_d2.evaluation.shown import BOXES, task_of

from omegaconf import DictConfig


def check_finds_boxes(cfg: DictConfig, weights: str) -> None:
    """Refuse a classifier or a super-resolution network.

    Args:
        cfg: the recipe.
        weights: as the user gave them.

    Raises:
        ValueError: the model finds no boxes; says what can be done with it.
    """
    task = task_of(cfg)
    if task == BOXES.task:
        return
    if task == CLASSIFICATION:
        raise ValueError(
            f"{weights}: is of a classifier, which finds no objects: in Python "
            f'lowres_d2.load({json.dumps(weights)})("image.jpg") gives the class of an image of '
            "yours, and `lowres-d2 visualize all --runs` shows test images with their classes"
        )
    raise ValueError(
        f"{weights}: is of a model that finds no objects: `lowres-d2 visualize all --runs` shows "
        "what it makes of test images"
    )
