"""Learning-rate schedules and parameter groups for optimizers."""

from detectron2.solver.build import (
    build_lr_scheduler,
    build_optimizer,
    get_default_optimizer_params,
)
from detectron2.solver.lr_scheduler import (
    LRMultiplier,
    LRScheduler,
    WarmupCosineLR,
    WarmupMultiStepLR,
    WarmupParamScheduler,
)

__all__ = [
    "LRMultiplier",
    "LRScheduler",
    "WarmupCosineLR",
    "WarmupMultiStepLR",
    "WarmupParamScheduler",
    "build_lr_scheduler",
    "build_optimizer",
    "get_default_optimizer_params",
]
