"""COCO 2017 as for DETR and its successors: RGB, random crops, images without objects as well."""

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .coco import dataloader

dataloader.train.mapper.augmentations = [
    L(T.RandomFlip)(),
    # Half of the time a random crop, which also shows objects enlarged and truncated.
    L(T.RandomApply)(
        # The augmentation to apply.
        tfm_or_aug=L(T.AugmentationList)(
            # Applied in this order.
            augs=[
                L(T.ResizeShortestEdge)(
                    short_edge_length=[400, 500, 600],
                    sample_style="choice",
                ),
                L(T.RandomCrop)(
                    # absolute_range: both sides are drawn at random, in pixels.
                    crop_type="absolute_range",
                    # Smallest and largest side.
                    crop_size=(384, 600),
                ),
            ]
        ),
        # Probability of applying it.
        prob=0.5,
    ),
    L(T.ResizeShortestEdge)(
        short_edge_length=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800],
        max_size=1333,
        sample_style="choice",
    ),
]
dataloader.train.mapper.image_format = "RGB"
dataloader.train.total_batch_size = 32
dataloader.train.filter_empty = False
