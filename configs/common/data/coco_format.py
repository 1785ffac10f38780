"""Your own data: two COCO json files, and their pictures beside them.

Recipes import ``data`` and ``dataloader``; the command line says data.train_json=FILE and
data.val_json=FILE.
"""

from lowres_d2.data import DetectionMapper, build_test_loader, build_train_loader
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.evaluation import SizedCOCOEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import OmegaConf

data = dict(
    # Annotations to train on and to evaluate on.
    train_json="datasets/own/train.json",
    val_json="datasets/own/val.json",
    # Folders of their pictures; null: looked for beside the json files.
    train_images=None,
    val_images=None,
    # Classes to use, in this order; null: all of the file, which both files must share.
    classes=None,
    # Boxes without area or outside of their picture: error or skip.
    invalid_boxes="error",
)

dataloader = OmegaConf.create()

dataloader.train = L(build_train_loader)(
    dataset=L(CocoDataset)(
        json_file="${data.train_json}",
        image_root="${data.train_images}",
        classes="${data.classes}",
        invalid_boxes="${data.invalid_boxes}",
    ),
    mapper=L(DetectionMapper)(
        # Whether annotations are read and turned into instances.
        is_train=True,
        # In this order. Leave out the flip where left and right differ (digits, arrows).
        augmentations=[
            # Length of the shorter side, unless the longer one passes max_size.
            L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800),
            L(T.RandomFlip)(),
        ],
        # The channels' order that the model's pixel_mean is in: BGR for Detectron2's zoo.
        image_format="RGB",
        # A picture that cannot be read: error (stop) or skip (count it and take the next).
        on_broken="error",
    ),
    # Pictures in a step, over all GPUs.
    total_batch_size=8,
    # Order and augmentation of the pictures follow it.
    seed="${train.seed}",
    # Processes that prepare batches, for each GPU.
    num_workers=2,
    # Whether to leave out pictures without objects.
    filter_empty=False,
)

dataloader.test = L(build_test_loader)(
    dataset=L(CocoDataset)(
        json_file="${data.val_json}",
        image_root="${data.val_images}",
        classes="${data.classes}",
        invalid_boxes="${data.invalid_boxes}",
    ),
    mapper=L(DetectionMapper)(
        is_train=False,
        augmentations=[L(T.ResizeShortestEdge)(short_edge_length=480, max_size=800)],
        image_format="${...train.mapper.image_format}",
        on_broken="error",
    ),
    # Pictures at a time, for each GPU.
    batch_size=1,
    num_workers=2,
)

dataloader.evaluator = L(SizedCOCOEvaluator)(
    dataset="${..test.dataset}",
    # Bands of object size: coco, aitod, tinyperson, or {name: [from, to]} in pixels.
    bands="coco",
    # Detections a picture that count; null: from the data, at least 100.
    max_dets=None,
    # Where detections and figures are written.
    output_dir="${train.output_dir}",
)
