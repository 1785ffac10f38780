"""Learning-rate multipliers over a run, as functions of its progress in [0, 1]."""

from copy import deepcopy

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common import param_scheduler

# 16 images a step: 90,000 steps are 12.2 epochs of COCO; x 0.1 after 2/3 and 8/9 of them.
multistep_1x = L(WarmupParamScheduler)(
    scheduler=L(param_scheduler.MultiStepParamScheduler)(
        # Multipliers, one after another.
        values=[1.0, 0.1, 0.01],
        # Where each ends, in steps; the last is the run's length, whatever max_iter says.
        milestones=[60000, 80000, 90000],
    ),
    # Share of the run in which the multiplier rises.
    warmup_length=1000 / 90000,
    # How it rises: linear or constant.
    warmup_method="linear",
    # Where it starts, as a share of the schedule's own multiplier there.
    warmup_factor=0.001,
)

# The same shape for 18,000 steps: 17.4 epochs of VOC 2007 + 2012.
multistep_voc = deepcopy(multistep_1x)
multistep_voc.scheduler.milestones = [12000, 16000, 18000]
multistep_voc.warmup_length = 100 / 18000

# Short runs: up in 15 %, then down along a half cosine.
one_cycle = deepcopy(multistep_1x)
one_cycle.warmup_length = 0.15
one_cycle.warmup_factor = 0.05
one_cycle.scheduler = L(param_scheduler.CosineParamScheduler)(
    # Multipliers at progress 0, were there no warm-up, and 1.
    start_value=1.0,
    end_value=0.02,  # not 0: the last steps still learn
)

# For runs of a few steps.
constant = L(param_scheduler.ConstantParamScheduler)(
    # The multiplier throughout.
    value=1.0,
)
