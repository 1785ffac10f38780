"""Meta-architectures: whole detectors, from `list[dict]` to losses or detections."""

from detectron2._uncovered import uncovered
from detectron2.modeling.meta_arch.build import META_ARCH_REGISTRY, build_model
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.meta_arch.fcos import FCOS
from detectron2.modeling.meta_arch.rcnn import GeneralizedRCNN, ProposalNetwork
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from detectron2.utils.registry import Registry

SEM_SEG_HEADS_REGISTRY = Registry("SEM_SEG_HEADS")
SEM_SEG_HEADS_REGISTRY.__doc__ = "Heads for semantic segmentation, which this core has none of."

PanopticFPN = uncovered("PanopticFPN")
SemanticSegmentor = uncovered("SemanticSegmentor")
build_sem_seg_head = uncovered("build_sem_seg_head")

__all__ = [
    "FCOS",
    "META_ARCH_REGISTRY",
    "SEM_SEG_HEADS_REGISTRY",
    "DenseDetector",
    "GeneralizedRCNN",
    "PanopticFPN",
    "ProposalNetwork",
    "RetinaNet",
    "SemanticSegmentor",
    "build_model",
    "build_sem_seg_head",
]
