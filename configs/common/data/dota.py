"""DOTA-v2.0 in tiles of 1024 px, cut by ``lowres-d2 prepare-dota``: see datasets/README.md."""

from lowres_d2.data.datasets import DOTA_CLASSES, CocoDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/dota/tiles_1024_200"

dataloader.train.dataset = L(CocoDataset)(
    # Ground truth of the tiles, a COCO json file.
    json_file=f"{_ROOT}/train/annotations.json",
    # Folder of the tiles.
    image_root=f"{_ROOT}/train/images",
    # Classes to use, in this order: the eighteen of DOTA-v2.0.
    classes=DOTA_CLASSES,
)
# Tiles at their own size: 1024 px, and less where an image is smaller.
dataloader.train.mapper.augmentations = [L(T.RandomFlip)()]
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = 4
# Leave out tiles without objects.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(CocoDataset)(
    json_file=f"{_ROOT}/val/annotations.json",
    image_root=f"{_ROOT}/val/images",
    classes="${...train.dataset.classes}",
)

# AI-TOD's ranges as papers have them, and medium with all that is larger, as its evaluator has it.
dataloader.evaluator.size_ranges = {
    "very-tiny": [2, 8],
    "tiny": [8, 16],
    "small": [16, 32],
    "medium": [32, 64],
    "32-inf": [32, None],
}
dataloader.evaluator.max_dets = 1500
dataloader.evaluator.olrp = True
