"""Data structures of detection: boxes, padded image batches and per-image instances."""

from detectron2._uncovered import uncovered

from .boxes import (
    Boxes,
    BoxMode,
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)
from .image_list import ImageList
from .instances import Instances

BitMasks = uncovered("BitMasks")
Keypoints = uncovered("Keypoints")
PolygonMasks = uncovered("PolygonMasks")
ROIMasks = uncovered("ROIMasks")
RotatedBoxes = uncovered("RotatedBoxes")
heatmaps_to_keypoints = uncovered("heatmaps_to_keypoints")
pairwise_iou_rotated = uncovered("pairwise_iou_rotated")
polygons_to_bitmask = uncovered("polygons_to_bitmask")

__all__ = [
    "BitMasks",
    "BoxMode",
    "Boxes",
    "ImageList",
    "Instances",
    "Keypoints",
    "PolygonMasks",
    "ROIMasks",
    "RotatedBoxes",
    "heatmaps_to_keypoints",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_iou_rotated",
    "pairwise_point_box_distance",
    "polygons_to_bitmask",
]
