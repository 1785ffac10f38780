"""Learned thumbnails, 64x64, and features that follow the teacher's."""

from lowres_d2.modeling.objectives import FeatureDistillation, FeaturePair

from detectron2.config import LazyCall as L

from .learned4_fcos_small_64_plates import dataloader, lr_multiplier, model, optimizer, train

model.objectives.append(
    L(FeatureDistillation)(
        pairs=[
            L(FeaturePair)(student="backbone.bottom_up.res3", student_stride=8),
            L(FeaturePair)(student="backbone.bottom_up.res4", student_stride=16),
            L(FeaturePair)(student="backbone.bottom_up.res5", student_stride=32),
        ]
    )
)
