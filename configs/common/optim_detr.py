"""AdamW as Deformable DETR is trained (Zhu et al. 2021), for 32 images per iteration.

Its recipes also clip gradients: ``train.clip_gradients``, enabled, norm, limit 0.1.
"""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from .optim import AdamW

AdamW.lr = 0.0002
AdamW.weight_decay = 0.0001
AdamW.params.base_lr = "${..lr}"
AdamW.params.weight_decay_norm = "${..weight_decay}"
# Factors on lr by parts of a parameter's name; 1 if none fits.
AdamW.params.lr_factor_func = L(LearningRateFactors)(
    factors=dict(backbone=0.1, sampling_offsets=0.1, reference_points=0.1)
)
