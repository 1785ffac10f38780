"""WiderFace: faces of all sizes."""

from lowres_d2.data.datasets.widerface.dataset import WiderFaceDataset
from lowres_d2.data.datasets.widerface.faces import FaceImage, is_wider_file, read_wider_faces
from lowres_d2.data.datasets.widerface.subsets import SUBSETS, FaceSubset, read_wider_subsets

__all__ = [
    "SUBSETS",
    "FaceImage",
    "FaceSubset",
    "WiderFaceDataset",
    "is_wider_file",
    "read_wider_faces",
    "read_wider_subsets",
]
