"""How the full-size recipes train after the base detector: two stages in the steps of a 1x run.

We have no schedule of the paper's: steps and rates are ours. Two players, some of them new and some
trained, have gradients of very different sizes, which Adam evens out.
"""

from copy import deepcopy

from detectron2.config import LazyCall as L
from fvcore.common import param_scheduler

from .....configs.common.optim import AdamW as optimizer
from .....configs.common.schedule import multistep_1x as lr_multiplier
from .method import stages

optimizer.weight_decay = 1e-4

# 16 images a step: 8.1 epochs of COCO, in every second step the discriminator's; 4.1 epochs.
stages[0].iterations = 60000
# Both predictors are trained already: a tenth of the rate, then a hundredth.
stages[1].schedule = L(param_scheduler.MultiStepParamScheduler)(
    values=[0.1, 0.01],
    # In steps of this stage.
    milestones=[20000, 30000],
)

# Heads on a feature pyramid have no res5, and no batch norm.
stages_fpn = deepcopy(stages)
for _stage in stages_fpn:
    _stage.eval_modules = ["detector.backbone", "detector.backbone.*"]
stages_fpn[1].trainable = ["detector.roi_heads.small_*", "detector.roi_heads.box_*"]
