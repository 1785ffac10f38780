"""Learning-rate multipliers over a run, as functions of its progress in [0, 1]."""

from copy import deepcopy

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common import param_scheduler

# 16 images per iteration: 90,000 are 12.2 epochs of COCO; x 0.1 after 2/3 and 8/9 of them.
multistep_1x = L(WarmupParamScheduler)(
    scheduler=L(param_scheduler.MultiStepParamScheduler)(
        # Multipliers, one after another.
        values=[1.0, 0.1, 0.01],
        # Iteration at which each ends; the last means the end of the run, whatever max_iter is.
        milestones=[60000, 80000, 90000],
    ),
    # Length of the warm-up, as a share of the run.
    warmup_length=1000 / 90000,
    # Warm-up: linear or constant.
    warmup_method="linear",
    # Multiplier at the start of the warm-up, relative to the schedule's own.
    warmup_factor=0.001,
)

# The same shape for 18,000 iterations: 17.4 epochs of VOC 2007 + 2012.
multistep_voc = deepcopy(multistep_1x)
multistep_voc.scheduler.milestones = [12000, 16000, 18000]
multistep_voc.warmup_length = 100 / 18000

# Short runs: warm-up over 15 %, then half a cosine.
one_cycle = deepcopy(multistep_1x)
one_cycle.warmup_length = 0.15
one_cycle.warmup_factor = 0.05
one_cycle.scheduler = L(param_scheduler.CosineParamScheduler)(
    # Multipliers at the start, as if without warm-up, and at the end.
    start_value=1.0,
    end_value=0.02,  # not 0: the last iterations still train
)

# For runs of a few iterations.
constant = L(param_scheduler.ConstantParamScheduler)(
    # The multiplier throughout.
    value=1.0,
)
