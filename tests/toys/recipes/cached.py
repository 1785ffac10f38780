"""The staged distilled run with a cache of the teacher's outputs; for tests of the engine."""

from lowres_d2.modeling.teacher import TeacherCache

from detectron2.config import LazyCall as L

from .staged_distilled import data, dataloader, lr_multiplier, model, optimizer, train

model.teacher.cache = L(TeacherCache)(folder="${train.output_dir}/teacher_cache", limit_gb=1.0)
# Random augmentations would make new images every epoch.
dataloader.train.mapper.augmentations = dataloader.train.mapper.augmentations[:1]
