"""The smaller detector at full resolution, distilled from the teacher."""

from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

from .....configs.common.models.fcos_small import model as teacher
from ..common.method_quick import distillation_of_early
from .early_fcos_small_256_plates import dataloader, lr_multiplier, model, optimizer, train

model.teacher = L(Teacher)(
    model=teacher, checkpoint="output/teacher_fcos_small_256_plates/model_final.pth"
)
model.objectives = distillation_of_early
model.loss_weights = dict(feature=0.9, logit=1.0)
train.max_iter = 2000
