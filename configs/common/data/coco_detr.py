"""COCO 2017 as DETR and its kin are trained on it: RGB, crops, images without objects too."""

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .coco import dataloader

dataloader.train.mapper.augmentations = [
    L(T.RandomFlip)(),
    # Half of the time a region of the image made smaller: large objects also larger, and cut.
    L(T.RandomApply)(
        # What is done.
        tfm_or_aug=L(T.AugmentationList)(
            # One after another.
            augs=[
                L(T.ResizeShortestEdge)(
                    short_edge_length=[400, 500, 600],
                    sample_style="choice",
                ),
                L(T.RandomCrop)(
                    # Both sides are drawn, in pixels.
                    crop_type="absolute_range",
                    # From and to.
                    crop_size=(384, 600),
                ),
            ]
        ),
        # How often.
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
