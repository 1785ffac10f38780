"""A student at half resolution and its teacher, whose weights a test gives."""

from .staged_distilled import data, dataloader, lr_multiplier, model, optimizer, train

model.resampler.factor = 2
model.teacher.checkpoint = ""
train.stages = []
