"""Data sets: sequences of Detectron2 dataset dicts that know their classes."""

from lowres_d2.data.datasets.base import (
    BoxDataset,
    check_same_classes,
    dataset_fingerprint,
    with_classes,
)
from lowres_d2.data.datasets.categories import count_classes
from lowres_d2.data.datasets.coco import CocoDataset
from lowres_d2.data.datasets.dota import DOTA_CLASSES, DotaDataset
from lowres_d2.data.datasets.seadronessee import SEADRONESSEE_CLASSES, SeaDronesSeeDataset
from lowres_d2.data.datasets.tinyperson import TinyPersonDataset
from lowres_d2.data.datasets.tt100k import TT100K_CLASSES, Tt100kDataset
from lowres_d2.data.datasets.visdrone import VISDRONE_CLASSES, VisDroneDataset
from lowres_d2.data.datasets.voc import VOC_CLASSES, VocDataset
from lowres_d2.data.datasets.widerface import WiderFaceDataset

__all__ = [
    "DOTA_CLASSES",
    "SEADRONESSEE_CLASSES",
    "TT100K_CLASSES",
    "VISDRONE_CLASSES",
    "VOC_CLASSES",
    "BoxDataset",
    "CocoDataset",
    "DotaDataset",
    "SeaDronesSeeDataset",
    "TinyPersonDataset",
    "Tt100kDataset",
    "VisDroneDataset",
    "VocDataset",
    "WiderFaceDataset",
    "check_same_classes",
    "count_classes",
    "dataset_fingerprint",
    "with_classes",
]
