"""The generated plates to classify: 32x32, one plate each, generated on first use.

They are in ``datasets/plates``, and there is nothing to download.
"""

from lowres_d2.data.plates import PlatesClassification

from detectron2.config import LazyCall as L

from .arrays import dataloader

dataloader.train.dataset = L(PlatesClassification)(
    # Folder of generated sets; each one gets a subfolder named after its settings.
    root="${oc.env:DETECTRON2_DATASETS,datasets}/plates",
    # train, val or test; they share no image.
    split="train",
    # Number of images; the first ones do not depend on it.
    num_images=20000,
    # Seed of layouts and pixels.
    seed=0,
    # [smallest, largest] sqrt(area) of a plate in pixels, from 1 to 24; null: 16 to 24.
    size_range=None,
)
# No flip: it would turn one class into another. No crop: a plate may lie at the image's border, and
# is anywhere in it already.
dataloader.train.crop_padding = 0
dataloader.train.flip = False

dataloader.test.dataset = L(PlatesClassification)(
    root="${...train.dataset.root}",
    split="val",
    # With this many, the standard error of any accuracy is under 0.3 points.
    num_images=28000,
    seed="${...train.dataset.seed}",
    size_range="${...train.dataset.size_range}",
)
