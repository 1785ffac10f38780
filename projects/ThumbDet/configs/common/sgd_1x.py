"""The two stages for SGD, whose updates grow with gradients: those of the downsampler are large.

At the detector's rate its weights would change by 2 to 50 % per iteration, those of res3 by 0.1 to
2 %. Moment matching has smaller gradients.
"""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from .stages_1x import stages

downsampler_rate = L(LearningRateFactors)(factors=dict(resampler=0.01))
# The detector's rate again: 100 x 0.01.
stages[0].schedule.value = 100.0
