"""WiderFace, faces of all sizes, in ``$DETECTRON2_DATASETS/widerface``: see datasets/README.md."""

from lowres_d2.data.datasets import WiderFaceDataset
from lowres_d2.evaluation import WiderFaceEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/widerface"

dataloader.train.dataset = L(WiderFaceDataset)(
    # The split's faces: the .mat, or wider_face_train_bbx_gt.txt.
    annotations=f"{_ROOT}/wider_face_split/wider_face_train.mat",
    # Folder with the events' folders in it.
    image_root=f"{_ROOT}/WIDER_train/images",
    # Faces that are marked invalid: ignore (ignore regions) or object.
    invalid="ignore",
    # A few boxes have no area.
    invalid_boxes="skip",
)
# Crops of 640 x 640 px of images at their own size, as the papers train on, which enlarge and
# shrink them, too.
dataloader.train.mapper.augmentations = [
    L(T.RandomCrop)(crop_type="absolute", crop_size=[640, 640]),
    L(T.RandomFlip)(),
]
dataloader.train.mapper.image_format = "BGR"
dataloader.train.mapper.crowds = "blank"
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = 4
# Leave out images without faces.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(WiderFaceDataset)(
    annotations=f"{_ROOT}/wider_face_split/wider_face_val.mat",
    image_root=f"{_ROOT}/WIDER_val/images",
    invalid="${...train.dataset.invalid}",
    invalid_boxes="skip",
)

dataloader.evaluator = L(WiderFaceEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # Folder of wider_easy_val.mat and its like, of the benchmark's evaluation tools.
    ground_truth=f"{_ROOT}/eval_tools/ground_truth",
    # Size ranges: coco, aitod, tinyperson, or {name: [from, to]} in pixels.
    size_ranges="coco",
    # Cap on detections of COCO's metrics; null: chosen from the data.
    max_dets=None,
    # Scores at which the benchmark measures precision and recall; null: those of all detections.
    thresholds=1000,
    # Where detections and metrics are written.
    output_dir="${train.output_dir}",
)
