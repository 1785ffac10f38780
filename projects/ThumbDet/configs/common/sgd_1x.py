"""The two stages for SGD, whose steps grow with gradients, and those of the downsampler are large.

At the detector's rate it would move by 2 to 50 % a step, res3 by 0.1 to 2 %. Moments pull less.
"""

from lowres_d2.engine.lr_factors import LearningRateFactors

from detectron2.config import LazyCall as L

from .stages_1x import stages

downsampler_rate = L(LearningRateFactors)(factors=dict(resampler=0.01))
# Back at the detector's rate.
stages[0].schedule.value = 100.0
