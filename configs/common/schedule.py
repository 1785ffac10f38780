"""Learning-rate multipliers over a run, as functions of its progress in [0, 1]."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
)

# 16 pictures a step: 90,000 steps are 12.2 epochs of COCO; x 0.1 after 2/3 and 8/9 of them.
multistep_1x = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[60000, 80000, 90000]),
    warmup_length=1000 / 90000,
    warmup_method="linear",
    warmup_factor=0.001,
)

# The same shape for 18,000 steps: 17.4 epochs of VOC 2007 + 2012.
multistep_voc = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(values=[1.0, 0.1, 0.01], milestones=[12000, 16000, 18000]),
    warmup_length=100 / 18000,
    warmup_method="linear",
    warmup_factor=0.001,
)

# Short runs: up in 15 %, then down along a half cosine.
one_cycle = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.02),
    warmup_length=0.15,
    warmup_method="linear",
    warmup_factor=0.05,
)

constant = L(LinearParamScheduler)(start_value=1.0, end_value=1.0)
