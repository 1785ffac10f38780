"""ThumbDet, 2x, on your images: distilled from a run of full_fcos_small_own, the teacher."""

from .thumbdet4_fcos_small_own import data, dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
