"""The generated plates: nothing to download, made on first use in ``datasets/plates``."""

from lowres_d2.data import DetectionMapper, build_test_loader, build_train_loader
from lowres_d2.data.datasets import PlatesDataset
from lowres_d2.evaluation import SizedCOCOEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import OmegaConf

dataloader = OmegaConf.create()

dataloader.train = L(build_train_loader)(
    dataset=L(PlatesDataset)(
        # Folder of generated sets; each has a folder named for its settings in it.
        root="${oc.env:DETECTRON2_DATASETS,datasets}/plates",
        split="train",
        num_images=2000,
        # Decides layouts and pixels.
        seed=0,
        # standard: plates of 6 to 96 px; tiny: 4 to 16 px.
        variant="standard",
        # Other sizes than the variant's: [smallest, largest] sqrt(area) in pixels.
        size_range=None,
        # Folder of photographs for the backgrounds; null: procedural textures.
        photos=None,
    ),
    mapper=L(DetectionMapper)(
        # Whether annotations are read and turned into instances.
        is_train=True,
        # In this order. No flips: they would turn one class into another.
        augmentations=[
            L(T.RandomBrightness)(intensity_min=0.7, intensity_max=1.3),
            L(T.RandomSaturation)(intensity_min=0.5, intensity_max=1.5),
        ],
        # The channels' order that the model's pixel_mean is in.
        image_format="RGB",
        # A picture that cannot be read: error (stop) or skip (count it and take the next).
        on_broken="error",
    ),
    # Pictures in a step, over all GPUs.
    total_batch_size=16,
    # Order and augmentation of the pictures follow it.
    seed="${train.seed}",
    # Processes that prepare batches, for each GPU.
    num_workers=1,
    # Whether to leave out pictures without objects.
    filter_empty=False,
)

dataloader.test = L(build_test_loader)(
    dataset=L(PlatesDataset)(
        root="${...train.dataset.root}",
        split="val",
        num_images=500,
        seed="${...train.dataset.seed}",
        variant="${...train.dataset.variant}",
        size_range="${...train.dataset.size_range}",
        photos="${...train.dataset.photos}",
    ),
    mapper=L(DetectionMapper)(
        is_train=False,
        augmentations=[],
        image_format="${...train.mapper.image_format}",
        on_broken="error",
    ),
    # Pictures at a time, for each GPU.
    batch_size=8,
    num_workers=1,
)

dataloader.evaluator = L(SizedCOCOEvaluator)(
    dataset="${..test.dataset}",
    # Bands of object size: plates, coco, aitod, tinyperson, or {name: [from, to]} in pixels.
    bands="plates",
    # Detections a picture that count; null: from the data, at least 100.
    max_dets=None,
    # Where detections and figures are written.
    output_dir="${train.output_dir}",
)
