"""A split of WiderFace as a data set."""

from __future__ import annotations

from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.image_folder import checked_image_root
from lowres_d2.data.datasets.voc import shown_size
from lowres_d2.data.datasets.widerface.faces import read_wider_faces


class WiderFaceDataset(BoxDataset):
    """Detectron2 dataset dicts of WiderFace with one class, face, checked.

    The files do not have the images' sizes, which are read from the images.

    Args:
        annotations: ``wider_face_train.mat``, ``wider_face_train_bbx_gt.txt``, or the text of
            RetinaFace's repository, which does not say which faces are invalid.
        image_root: folder with the events' folders in it, such as ``0--Parade``. None: searched for
            beside the annotations.
        invalid: what faces are that are marked invalid: "ignore" regions, or an "object".
        invalid_boxes: "error" or "skip", as in ``CocoDataset``; a few boxes of the data set have no
            area.
    """

    def __init__(
        self,
        annotations: str | Path,
        image_root: str | Path | None = None,
        invalid: str = "ignore",
        invalid_boxes: str = "error",
    ) -> None:
        if invalid not in ("ignore", "object"):
            raise ValueError(f"invalid={invalid!r}: expected 'ignore' or 'object'")
        path = Path(annotations)
        images = read_wider_faces(path)
        root = checked_image_root(path, [image.name for image in images], image_root, True)
        policy = BoxPolicy(path, invalid_boxes)
        records, number = [], 0
        for image_id, image in enumerate(images, start=1):
            height, width = shown_size(root / image.name)
            record = {
                "file_name": str(root / image.name),
                "height": height,
                "width": width,
                "image_id": image_id,
                "annotations": [],
            }
            for k, (given, marked) in enumerate(zip(image.boxes, image.invalid, strict=True)):
                bbox = policy.admit(given, record, f"face {k + 1}")
                if bbox is None:
                    continue
                number += 1
                crowd = int(marked and invalid == "ignore")
                annotation = make_annotation(number, 0, bbox, iscrowd=crowd)
                if bbox is not given:
                    annotation["unclipped_bbox"] = given
                record["annotations"].append(annotation)
            records.append(record)
        policy.close()
        super().__init__(records, ["face"], source=path, image_root=root)
