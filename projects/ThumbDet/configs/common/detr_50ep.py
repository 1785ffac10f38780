"""50 epochs of COCO, 32 images per iteration, and the paper's two stages of them (Algorithm 2)."""

from lowres_d2.engine.stage_checks import NoDeadChannels
from lowres_d2.engine.stages import Stage

from detectron2.config import LazyCall as L
from fvcore.common import param_scheduler

# Iterations of an epoch: 118,287 images, 32 per iteration.
ITERATIONS_PER_EPOCH = 3697

# x 0.1 after 40 of 50 epochs.
lr_multiplier = L(param_scheduler.MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[40, 50])

stages = [
    L(Stage)(
        name="thumbnails",
        iterations=0.1,  # of the run: 5 of 50 epochs
        trainable=["resampler.*"],
        losses=["moments"],
        schedule=L(param_scheduler.ConstantParamScheduler)(value=1.0),
        check=L(NoDeadChannels)(),
    ),
    L(Stage)(
        name="everything",
        schedule=L(param_scheduler.MultiStepParamScheduler)(values=[1.0, 0.1], milestones=[35, 45]),
    ),
]
