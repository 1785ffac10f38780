"""SeaDronesSee: what drones see in open water, in COCO's format with a class for ignore regions.

Varga et al., "SeaDronesSee: A Maritime Benchmark for Detecting Humans in Open Water" (WACV 2022);
github.com/Ben93kie/SeaDronesSee. Category 0, ``ignored``, is no object.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.datasets.coco import CocoDataset

SEADRONESSEE_CLASSES = ["swimmer", "boat", "jetski", "life_saving_appliances", "buoy"]
IGNORED = "ignored"


class SeaDronesSeeDataset(CocoDataset):
    """Detectron2 dataset dicts of SeaDronesSee's object detection, checked.

    Args:
        json_file: COCO ground truth of a split.
        image_root: as in ``CocoDataset``.
        classes: the classes to use, in this order; objects of others are left out and counted.
            None: the data set's five.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        check_images: whether every image must exist now.
        may_lack_classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        json_file: str | Path,
        image_root: str | Path | None = None,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        check_images: bool = True,
        may_lack_classes: bool = False,
    ) -> None:
        super().__init__(
            json_file,
            image_root,
            SEADRONESSEE_CLASSES if classes is None else classes,
            invalid_boxes,
            check_images,
            may_lack_classes,
            [IGNORED],
        )
