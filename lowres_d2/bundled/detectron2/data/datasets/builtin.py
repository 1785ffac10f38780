"""Registers the data sets with well-known names, under the folder $DETECTRON2_DATASETS.

Nothing is read here: a name costs nothing until it is loaded. Layout, `datasets` being the default:
    datasets/coco/{annotations,train2017,val2017,...}    datasets/VOC2007, datasets/VOC2012
"""

from __future__ import annotations

import os

from detectron2._uncovered import uncovered

from ..catalog import MetadataCatalog
from .builtin_meta import _get_builtin_metadata
from .coco import register_coco_instances
from .pascal_voc import register_pascal_voc

# Name -> folder of images and annotation file, relative to the root.
_PREDEFINED_SPLITS_COCO = {
    "coco": {
        name: (f"coco/{folder}", f"coco/annotations/{json_name}.json")
        for name, folder, json_name in (
            ("coco_2014_train", "train2014", "instances_train2014"),
            ("coco_2014_val", "val2014", "instances_val2014"),
            ("coco_2014_minival", "val2014", "instances_minival2014"),
            ("coco_2014_valminusminival", "val2014", "instances_valminusminival2014"),
            ("coco_2017_train", "train2017", "instances_train2017"),
            ("coco_2017_val", "val2017", "instances_val2017"),
            ("coco_2017_test", "test2017", "image_info_test2017"),
            ("coco_2017_test-dev", "test2017", "image_info_test-dev2017"),
            ("coco_2017_val_100", "val2017", "instances_val2017_100"),
        )
    }
}
VOC_SPLITS = {2007: ("trainval", "train", "val", "test"), 2012: ("trainval", "train", "val")}

register_all_ade20k = uncovered("register_all_ade20k")
register_all_cityscapes = uncovered("register_all_cityscapes")
register_all_cityscapes_panoptic = uncovered("register_all_cityscapes_panoptic")
register_all_lvis = uncovered("register_all_lvis")


def register_all_coco(root: str) -> None:
    """Register COCO's splits below `root`."""
    for name, (folder, json_file) in _PREDEFINED_SPLITS_COCO["coco"].items():
        register_coco_instances(
            name,
            _get_builtin_metadata("coco"),
            os.path.join(root, json_file),
            os.path.join(root, folder),
        )


def register_all_pascal_voc(root: str) -> None:
    """Register Pascal VOC's splits below `root`."""
    for year, splits in VOC_SPLITS.items():
        for split in splits:
            name = f"voc_{year}_{split}"
            register_pascal_voc(name, os.path.join(root, f"VOC{year}"), split, year)
            MetadataCatalog.get(name).evaluator_type = "pascal_voc"


_root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
register_all_coco(_root)
register_all_pascal_voc(_root)
