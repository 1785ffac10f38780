"""Test-time augmentation is left to upstream Detectron2; the names are there to be imported."""

from detectron2._uncovered import uncovered

DatasetMapperTTA = uncovered("DatasetMapperTTA")
GeneralizedRCNNWithTTA = uncovered("GeneralizedRCNNWithTTA")

__all__ = ["DatasetMapperTTA", "GeneralizedRCNNWithTTA"]
