"""YOLO's format: a text file of fractions for each image, and a yaml file that names classes."""

from lowres_d2.data.folders.yolo.dataset import YoloDataset
from lowres_d2.data.folders.yolo.folder import YoloFolder, find_yolo
from lowres_d2.data.folders.yolo.rows import YoloRows

__all__ = ["YoloDataset", "YoloFolder", "YoloRows", "find_yolo"]
