"""Loading and saving of weights, in Detectron2's and in Caffe2 Detectron's formats."""

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer

from detectron2.checkpoint.detection_checkpoint import DetectionCheckpointer

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]
