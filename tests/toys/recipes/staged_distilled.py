"""Two stages: the neck on feature distillation alone, then everything; for tests of the engine."""

from copy import deepcopy

from lowres_d2.engine.stages import Stage
from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair
from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L
from fvcore.common.param_scheduler import ConstantParamScheduler

from ....configs.own_data.bicubic4_fcos_small_own import (
    data,
    dataloader,
    lr_multiplier,
    model,
    optimizer,
    train,
)

model.teacher = L(Teacher)(model=deepcopy(model.detector), checkpoint=None)
# res3 of the student has stride 8 in its own pixels, as the teacher's has in full ones.
model.objectives = [
    L(FeatureDistillation)(
        pairs=[L(FeaturePair)(student="backbone.bottom_up.res3", student_stride=8)]
    )
]
train.teacher_check.images = 0  # the teacher is untrained
train.max_iter = 6
train.stages = [
    L(Stage)(
        name="neck",
        iterations=4,
        trainable=["detector.backbone.bottom_up.*"],
        losses=["feature"],
        eval_modules=["detector.backbone.bottom_up.stem.*"],
        schedule=L(ConstantParamScheduler)(value=0.5),
    ),
    L(Stage)(name="all", iterations=2),
]
