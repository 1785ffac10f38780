"""Schedule of the full-size recipes after the base detector: two stages, as long as a 1x run.

We do not have the paper's schedule: iterations and rates are our choice. Generator and
discriminator are new, the predictors are pretrained; their gradients differ greatly in size, which
Adam evens out.
"""

from copy import deepcopy

from detectron2.config import LazyCall as L
from fvcore.common import param_scheduler

from .....configs.common.optim import AdamW as optimizer
from .....configs.common.schedule import multistep_1x as lr_multiplier
from .method import stages

optimizer.weight_decay = 1e-4

# Of the run. 16 images per iteration: 8.1 epochs of COCO, every second iteration the
# discriminator's; then 4.1.
stages[0].iterations = 2 / 3
# Both predictors are trained already: a tenth of the rate, then a hundredth.
stages[1].schedule = L(param_scheduler.MultiStepParamScheduler)(
    values=[0.1, 0.01],
    # In iterations of this stage.
    milestones=[20000, 30000],
)

# Heads on a feature pyramid have no res5, and no batch norm.
stages_fpn = deepcopy(stages)
for _stage in stages_fpn:
    _stage.eval_modules = ["detector.backbone", "detector.backbone.*"]
stages_fpn[1].trainable = ["detector.roi_heads.small_*", "detector.roi_heads.box_*"]
