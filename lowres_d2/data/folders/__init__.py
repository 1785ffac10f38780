"""Data sets by folder: COCO's, YOLO's and VOC's forms recognised by themselves."""

from lowres_d2.data.folders.layout import FolderData
from lowres_d2.data.folders.own import count_own_classes, own_dataset
from lowres_d2.data.folders.recognition import recognise

__all__ = ["FolderData", "count_own_classes", "own_dataset", "recognise"]
