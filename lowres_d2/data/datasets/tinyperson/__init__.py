"""TinyPerson: persons of a few pixels at the seaside."""

from lowres_d2.data.datasets.tinyperson.corners import Corner, checked_corners
from lowres_d2.data.datasets.tinyperson.dataset import TinyPersonDataset
from lowres_d2.data.datasets.tinyperson.flags import FLAGS, TASKS, flags_of

__all__ = ["FLAGS", "TASKS", "Corner", "TinyPersonDataset", "checked_corners", "flags_of"]
