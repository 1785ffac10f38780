"""TinyPerson: tiles of 640x512 px to train on, whole images to test: see datasets/README.md."""

from lowres_d2.data.datasets import TinyPersonDataset
from lowres_d2.evaluation import TinyPersonEvaluator

from detectron2.config import LazyCall as L
from detectron2.data import transforms as T

from .loaders import dataloader

_ROOT = "${oc.env:DETECTRON2_DATASETS,datasets}/tiny_set"

dataloader.train.dataset = L(TinyPersonDataset)(
    # The data set's own tiles, which overlap by 50 px.
    json_file=f"{_ROOT}/annotations/corner/task/tiny_set_train_sw640_sh512_all.json",
    # Folder of the images.
    image_root=f"{_ROOT}/train",
    # all: one class, person; sea, earth: those of the other class are ignored; both: two classes.
    task="all",
    # Flags of boxes that make ignore regions of them.
    ignored=["ignore", "uncertain", "logo"],
    # Images with more than 200 boxes: leave_out, as in the benchmark, ignore (their boxes), object.
    dense="leave_out",
)
dataloader.train.mapper.augmentations = [L(T.RandomFlip)()]
dataloader.train.mapper.image_format = "BGR"
# As in the benchmark, whose documentation says: erased with the mean of each region.
dataloader.train.mapper.crowds = "region_mean"
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = 4
# Leave out tiles without objects.
dataloader.train.filter_empty = True

dataloader.test.dataset = L(TinyPersonDataset)(
    json_file=f"{_ROOT}/annotations/tiny_set_test.json",
    image_root=f"{_ROOT}/test",
    task="${...train.dataset.task}",
    # What the benchmark's evaluator knows.
    ignored=["ignore", "uncertain"],
    dense="${...train.dataset.dense}",
)

dataloader.evaluator = L(TinyPersonEvaluator)(
    # The ground truth.
    dataset="${..test.dataset}",
    # From 1 px on, as the benchmark's evaluator; tinyperson-2: from 2 px, as its papers say.
    size_ranges="tinyperson",
    # Detections per image that count.
    max_dets=200,
    # Where detections and metrics are written.
    output_dir="${train.output_dir}",
)
