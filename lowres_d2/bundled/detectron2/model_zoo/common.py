"""What upstream's Python configs share: optimizers, schedules, COCO's loaders, settings of a run.

The values are upstream's. They are for scripts that ask for them; recipes of this project are in
``configs/``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import LazyCall as L
from detectron2.data import (
    DatasetMapper,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data import transforms as T
from detectron2.evaluation import COCOEvaluator
from detectron2.solver import WarmupParamScheduler, get_default_optimizer_params
from fvcore.common.param_scheduler import MultiStepParamScheduler
from omegaconf import DictConfig

ITERATIONS_1X = 90_000  # iterations of 16 images, about 12 epochs of COCO


def constants() -> dict[str, Any]:
    """Mean and deviation of ImageNet's channels, 0 to 255; Caffe's weights take them undivided."""
    mean = [123.675, 116.28, 103.53]
    return {
        "constants": {
            "imagenet_rgb256_mean": mean,
            "imagenet_rgb256_std": [58.395, 57.12, 57.375],
            "imagenet_bgr256_mean": mean[::-1],
            "imagenet_bgr256_std": [1.0, 1.0, 1.0],
        }
    }


def optimizers() -> dict[str, Any]:
    """``SGD`` for 16 images an iteration, and ``AdamW``."""

    def parameters(**settings: Any) -> DictConfig:
        return L(get_default_optimizer_params)(weight_decay_norm=0.0, **settings)

    return {
        "SGD": L(torch.optim.SGD)(params=parameters(), lr=0.02, momentum=0.9, weight_decay=0.0001),
        "AdamW": L(torch.optim.AdamW)(
            params=parameters(base_lr="${..lr}"), lr=0.0001, betas=(0.9, 0.999), weight_decay=0.1
        ),
    }


def schedule(times: int) -> DictConfig:
    """Steps to 0.1 and 0.01 near the end of ``times`` x 90,000 iterations, after a warm-up."""
    iterations = ITERATIONS_1X * times
    # Up to 2x the steps are shares of the run, from 3x on they are counted from its end.
    end = iterations if times > 2 else ITERATIONS_1X
    before = (60_000, 20_000) if times > 2 else (30_000, 10_000)
    return L(WarmupParamScheduler)(
        scheduler=L(MultiStepParamScheduler)(
            values=[1.0, 0.1, 0.01], milestones=[*(end - n for n in before), end]
        ),
        warmup_length=1000 / iterations,
        warmup_method="linear",
        warmup_factor=0.001,
    )


def schedules() -> dict[str, Any]:
    """``lr_multiplier_1x`` to ``lr_multiplier_9x``."""
    return {f"lr_multiplier_{times}x": schedule(times) for times in (1, 2, 3, 6, 9)}


def coco_loaders() -> dict[str, Any]:
    """``dataloader``: COCO 2017 by the names of upstream's data sets, and its evaluator."""

    def resize(length: int | list[int], **settings: Any) -> DictConfig:
        return L(T.ResizeShortestEdge)(short_edge_length=length, max_size=1333, **settings)

    train = L(build_detection_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_train"),
        mapper=L(DatasetMapper)(
            is_train=True,
            augmentations=[
                resize([640, 672, 704, 736, 768, 800], sample_style="choice"),
                L(T.RandomFlip)(horizontal=True),
            ],
            image_format="BGR",
            use_instance_mask=False,  # upstream's common file has masks, its detectors of boxes not
        ),
        total_batch_size=16,
        num_workers=4,
    )
    test = L(build_detection_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_val", filter_empty=False),
        mapper=L(DatasetMapper)(
            is_train=False,
            augmentations=[resize(800)],
            image_format="${...train.mapper.image_format}",
        ),
        num_workers=4,
    )
    evaluator = L(COCOEvaluator)(dataset_name="${..test.dataset.names}")
    return {"dataloader": {"train": train, "test": test, "evaluator": evaluator}}


def run_settings() -> dict[str, Any]:
    """``train``: settings of a run; the device is a GPU where there is one."""
    return {
        "train": {
            "output_dir": "./output",
            "init_checkpoint": "",
            "max_iter": ITERATIONS_1X,
            "amp": {"enabled": False},
            "ddp": {
                "broadcast_buffers": False,
                "find_unused_parameters": False,
                "fp16_compression": False,
            },
            "checkpointer": {"period": 5000, "max_to_keep": 100},
            "eval_period": 5000,
            "log_period": 20,
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }
    }


def training_of(detector: str, depth: int, times: int) -> dict[str, Any]:
    """The four keys beside ``model`` of upstream's config of a detector.

    Args:
        detector: ``faster_rcnn``, ``retinanet`` or ``fcos``.
        depth: of the ResNet, whose ImageNet weights the run starts from.
        times: length of the run, in 90,000 iterations.
    """
    parts = coco_loaders() | run_settings()
    train = parts["train"]
    train["max_iter"] = ITERATIONS_1X * times
    train["init_checkpoint"] = f"detectron2://ImageNetPretrained/MSRA/R-{depth}.pkl"
    optimizer = optimizers()["SGD"]
    if detector != "faster_rcnn":
        optimizer.lr = 0.01
    return parts | {"optimizer": optimizer, "lr_multiplier": schedule(times)}


PIECES: dict[str, Callable[[], dict[str, Any]]] = {
    "common/coco_schedule": schedules,
    "common/data/coco": coco_loaders,
    "common/data/constants": constants,
    "common/optim": optimizers,
    "common/train": run_settings,
}
