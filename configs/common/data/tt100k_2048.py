"""Tsinghua-Tencent 100K at its own size, 2048 px."""

from .tt100k import dataloader

dataloader.train.mapper.augmentations = []
dataloader.test.mapper.augmentations = []
