"""The generated data set with tiny plates only, 4 to 16 px."""

from .plates import dataloader

dataloader.train.dataset.variant = "tiny"
dataloader.evaluator.size_ranges = [0, 8, 12, None]
