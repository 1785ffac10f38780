"""The place from which older programs import these two."""

from detectron2._uncovered import uncovered

from .coco import register_coco_instances

register_coco_panoptic_separated = uncovered("register_coco_panoptic_separated")

__all__ = ["register_coco_instances", "register_coco_panoptic_separated"]
