"""COCO 2017, in ``$DETECTRON2_DATASETS/coco`` (``datasets/coco``): see datasets/README.md."""

from lowres_d2.data import DetectionMapper, build_test_loader, build_train_loader
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.evaluation import SizedCOCOEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from omegaconf import OmegaConf

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/coco"

dataloader = OmegaConf.create()

dataloader.train = L(build_train_loader)(
    dataset=L(CocoDataset)(
        json_file=f"{_ROOT}/annotations/instances_train2017.json",
        image_root=f"{_ROOT}/train2017",
        # A few of COCO's own boxes have no area.
        invalid_boxes="skip",
    ),
    mapper=L(DetectionMapper)(
        # Whether annotations are read and turned into instances.
        is_train=True,
        # In this order.
        augmentations=[
            # One of these lengths for the shorter side, unless the longer one passes max_size.
            L(T.ResizeShortestEdge)(
                short_edge_length=[640, 672, 704, 736, 768, 800],
                max_size=1333,
                sample_style="choice",
            ),
            L(T.RandomFlip)(),
        ],
        # The channels' order that the model's pixel_mean is in; Detectron2's zoo has BGR.
        image_format="BGR",
        # A picture that cannot be read: error (stop) or skip (count it and take the next).
        on_broken="error",
    ),
    # Pictures in a step, over all GPUs.
    total_batch_size=16,
    # Order and augmentation of the pictures follow it.
    seed="${train.seed}",
    # Processes that prepare batches, for each GPU.
    num_workers=4,
    # Leave out pictures without objects, as Detectron2 does on COCO.
    filter_empty=True,
)

dataloader.test = L(build_test_loader)(
    dataset=L(CocoDataset)(
        json_file=f"{_ROOT}/annotations/instances_val2017.json",
        image_root=f"{_ROOT}/val2017",
        invalid_boxes="skip",
    ),
    mapper=L(DetectionMapper)(
        is_train=False,
        augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
        image_format="${...train.mapper.image_format}",
        on_broken="error",
    ),
    # Pictures at a time, for each GPU.
    batch_size=1,
    num_workers=4,
)

dataloader.evaluator = L(SizedCOCOEvaluator)(
    dataset="${..test.dataset}",
    # Bands of object size: coco, aitod, tinyperson, or {name: [from, to]} in pixels.
    bands="coco",
    # COCO sizes its objects by the area of their masks.
    area="annotation",
    # Detections a picture that count; null: from the data, at least 100.
    max_dets=100,
    # Where detections and figures are written.
    output_dir="${train.output_dir}",
)
