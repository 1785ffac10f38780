"""Readers of annotation formats; importing this registers the built-in data sets."""

from detectron2._uncovered import uncovered

from . import builtin  # registers
from .coco import convert_to_coco_json, load_coco_json, register_coco_instances
from .pascal_voc import load_voc_instances, register_pascal_voc

get_lvis_instances_meta = uncovered("get_lvis_instances_meta")
load_lvis_json = uncovered("load_lvis_json")
load_sem_seg = uncovered("load_sem_seg")
register_coco_panoptic = uncovered("register_coco_panoptic")
register_coco_panoptic_separated = uncovered("register_coco_panoptic_separated")
register_lvis_instances = uncovered("register_lvis_instances")

__all__ = [
    "builtin",
    "convert_to_coco_json",
    "get_lvis_instances_meta",
    "load_coco_json",
    "load_lvis_json",
    "load_sem_seg",
    "load_voc_instances",
    "register_coco_instances",
    "register_coco_panoptic",
    "register_coco_panoptic_separated",
    "register_lvis_instances",
    "register_pascal_voc",
]
