"""The generated data sets: traffic-sign-like plates, for detection and for classification."""

from lowres_d2.data.plates.classification import PlatesClassification
from lowres_d2.data.plates.dataset import PlatesDataset
from lowres_d2.data.plates.sheet import plate_sheet

__all__ = ["PlatesClassification", "PlatesDataset", "plate_sheet"]
