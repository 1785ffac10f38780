"""The generated plates: nothing to download, generated on first use in ``datasets/plates``."""

from lowres_d2.data import RandomSaturation
from lowres_d2.data.plates import PlatesDataset

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

dataloader.train.dataset = L(PlatesDataset)(
    # Folder of generated sets; each one gets a subfolder named after its settings.
    root="${oc.env:DETECTRON2_DATASETS,datasets}/plates",
    # train, val or test; they share no image.
    split="train",
    # Number of images; the first ones do not depend on it.
    num_images=2000,
    # Seed of layouts and pixels.
    seed=0,
    # standard: plates of 6 to 96 px; tiny: 4 to 16 px; large: as standard, on 1024x1024.
    variant="standard",
    # [smallest, largest] sqrt(area) in pixels; null: the variant's.
    size_range=None,
    # Folder of photographs for the backgrounds; null: procedural textures.
    photos=None,
    # Classes to use, in this order; null: all eight.
    classes=None,
)
# No flips: they would turn one class into another.
dataloader.train.mapper.augmentations = [
    # Factor on the pixel values; 1 leaves them unchanged.
    L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
    # Weight of the colours; 0 is grey, 1 leaves them unchanged.
    L(RandomSaturation)(intensity_min=0.5, intensity_max=1.5),
]
dataloader.train.num_workers = 1

dataloader.test.dataset = L(PlatesDataset)(
    root="${...train.dataset.root}",
    split="val",
    num_images=500,
    seed="${...train.dataset.seed}",
    variant="${...train.dataset.variant}",
    size_range="${...train.dataset.size_range}",
    photos="${...train.dataset.photos}",
    classes="${...train.dataset.classes}",
)
dataloader.test.batch_size = 8

dataloader.evaluator.size_ranges = "plates"
