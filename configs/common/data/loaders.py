"""The data loaders of all data sets; each data set's file fills in its own values.

At least ``train.dataset`` and ``test.dataset``; mostly ``augmentations`` and batch sizes, too.
"""

from lowres_d2.data import DetectionMapper, build_test_loader, build_train_loader
from lowres_d2.data.image import MAX_PIXELS
from lowres_d2.evaluation import SizedCOCOEvaluator

from detectron2.config import LazyCall as L
from omegaconf import MISSING, OmegaConf

dataloader = OmegaConf.create()

dataloader.train = L(build_train_loader)(
    # The images to train on, as Detectron2's dataset dicts.
    dataset=MISSING,
    # From a dataset dict to the model's input.
    mapper=L(DetectionMapper)(
        # Whether annotations are read and turned into instances.
        is_train=True,
        # Detectron2's augmentations, in this order.
        augmentations=[],
        # Channels, the same as in the model's pixel_mean: RGB, BGR (Detectron2's zoo), L (grey), or
        # null: those of the files.
        image_format="RGB",
        # Values of the files that become 0 and 255; null: 0 and the largest of each file's depth.
        value_range=None,
        # The most pixels that an image may have, against files that would fill the memory.
        max_pixels=MAX_PIXELS,
        # Images that EXIF rotates: check (rotated; an error where their size does not tell whether
        # boxes follow), apply or ignore.
        exif="check",
        # With image_format null, how many channels every image must have; null: as the model takes.
        channels=None,
        # Ignore regions in training: background, as in Detectron2, blank (the image's mean colour),
        # region_mean (each its own), or ignore (nothing in them is learned as background).
        crowds="background",
        # An image that cannot be read: error (stop) or skip (count it and take the next).
        on_broken="error",
    ),
    # Images per iteration, over all GPUs.
    total_batch_size=16,
    # Seed of the images' order and augmentation.
    seed="${train.seed}",
    # Processes that prepare batches, per GPU.
    num_workers=2,
    # Whether to leave out images without objects.
    filter_empty=False,
    # Share of the images below which a class is rare and its images come more often, by the factors
    # of Detectron2's RepeatFactorTrainingSampler (0.001 for LVIS); null: each comes once an epoch.
    repeat_threshold=None,
)

dataloader.test = L(build_test_loader)(
    # The images to evaluate on.
    dataset=MISSING,
    # As for training, without annotations; augmentations only resize.
    mapper=L(DetectionMapper)(
        is_train=False,
        augmentations=[],
        image_format="${...train.mapper.image_format}",
        value_range="${...train.mapper.value_range}",
        max_pixels="${...train.mapper.max_pixels}",
        exif="${...train.mapper.exif}",
        channels="${...train.mapper.channels}",
        on_broken="error",
        # TIFF files and arrays (.npy) that are read window by window, for models in tiles.
        windows=False,
    ),
    # Images per batch, on each GPU.
    batch_size=1,
    # Processes that prepare batches, per GPU.
    num_workers="${..train.num_workers}",
)

dataloader.evaluator = L(SizedCOCOEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Size ranges: coco, aitod, aitod-64, tinyperson, tinyperson-2, plates, or {name: [from, to]} in
    # pixels.
    size_ranges="coco",
    # Detections per image that count; null: chosen from the data, at least 100.
    max_dets=None,
    # Size of an object: of its box, or the file's 'area' (annotation), in COCO that of the mask.
    area="box",
    # Whether to report the error oLRP as well, as AI-TOD's tables do.
    olrp=False,
    # Where detections and metrics are written.
    output_dir="${train.output_dir}",
)
