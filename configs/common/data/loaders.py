"""What the loaders of every data set share; a data set's file fills in its own.

At least ``train.dataset`` and ``test.dataset``; mostly ``augmentations`` and the batch sizes too.
"""

from lowres_d2.data import DetectionMapper, build_test_loader, build_train_loader
from lowres_d2.evaluation import SizedCOCOEvaluator

from detectron2.config import LazyCall as L
from omegaconf import MISSING, OmegaConf

dataloader = OmegaConf.create()

dataloader.train = L(build_train_loader)(
    # The images to train on, as Detectron2's dataset dicts.
    dataset=MISSING,
    # From a dataset dict to what the model takes.
    mapper=L(DetectionMapper)(
        # Whether annotations are read and turned into instances.
        is_train=True,
        # Detectron2's augmentations, in this order.
        augmentations=[],
        # The channels' order that the model's pixel_mean is in; Detectron2's zoo has BGR.
        image_format="RGB",
        # An image that cannot be read: error (stop) or skip (count it and take the next).
        on_broken="error",
    ),
    # Images in a step, over all GPUs.
    total_batch_size=16,
    # Order and augmentation of the images follow it.
    seed="${train.seed}",
    # Processes that prepare batches, for each GPU.
    num_workers=2,
    # Whether to leave out images without objects.
    filter_empty=False,
)

dataloader.test = L(build_test_loader)(
    # The images to evaluate on.
    dataset=MISSING,
    # As for training, without annotations; augmentations are sizes only.
    mapper=L(DetectionMapper)(
        is_train=False,
        augmentations=[],
        image_format="${...train.mapper.image_format}",
        on_broken="error",
    ),
    # Images at a time, for each GPU.
    batch_size=1,
    # Processes that prepare batches, for each GPU.
    num_workers="${..train.num_workers}",
)

dataloader.evaluator = L(SizedCOCOEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Size ranges: coco, aitod, tinyperson, plates, or {name: [from, to]} in pixels.
    size_ranges="coco",
    # Detections an image that count; null: from the data, at least 100.
    max_dets=None,
    # What sizes an object: its box, or the file's 'area' (annotation), that of a mask in COCO.
    area="box",
    # Where detections and figures are written.
    output_dir="${train.output_dir}",
)
