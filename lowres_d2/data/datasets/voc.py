"""Pascal VOC: xml files listed by ``ImageSets/Main``."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.datasets.base import BoxDataset, class_names, log_left_out, make_annotation
from lowres_d2.data.datasets.boxes import BoxPolicy
from lowres_d2.data.datasets.categories import select_classes
from lowres_d2.data.datasets.image_folder import check_images_exist, is_file
from lowres_d2.data.datasets.voc_files import (
    VocImage,
    check_not_fractions,
    image_names,
    listed_stems,
    read_voc_xml,
)
from lowres_d2.data.datasets.yolo import check_not_yolo
from lowres_d2.data.image.decode import orientation_of
from lowres_d2.data.image.files import open_image, open_regular

_logger = logging.getLogger(__name__)

VOC_CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]  # fmt: skip


class VocDataset(BoxDataset):
    """Detectron2 dataset dicts from folders ``VOC<year>``.

    Objects marked 'difficult' become crowds: not used in training, ignored in evaluation. Images
    of any format are read, by the stem of their annotation file.

    Args:
        root: folder that has ``VOC2007``, ``VOC2012`` and so on in it.
        split: a list in ``ImageSets/Main``, such as "trainval" or "test".
        year: one year, or several whose images are joined.
        classes: the classes to use, in this order; objects of others are left out and counted.
            None: VOC's twenty, and an object of another class is an error.
        invalid_boxes: "error" or "skip", as in ``CocoDataset``.
        check_images: whether every image must exist now.
        may_lack_classes: as in ``CocoDataset``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        year: int | Sequence[int] = 2007,
        classes: list[str] | None = None,
        invalid_boxes: str = "error",
        check_images: bool = True,
        may_lack_classes: bool = False,
    ) -> None:
        root = Path(root)
        years = [year] if isinstance(year, int) else list(year)
        annotated = {
            folder: _read_split(folder, split, check_images)
            for folder in (root / f"VOC{one_year}" for one_year in years)
        }
        everything = [image for images in annotated.values() for image in images]
        found = {found.name for image in everything for found in image.objects}
        # Without any labels, nothing says that a class is misspelt.
        known = found if found or classes is None else set(class_names(classes))
        names = chosen_classes(root, known, classes, may_lack_classes)
        records: list[dict] = []
        num_boxes = 0
        left_out: Counter[str] = Counter()
        for folder, images in annotated.items():
            policy = BoxPolicy(folder, invalid_boxes)
            for image in images:
                left_out.update(found.name for found in image.objects if found.name not in names)
                # COCO's ids are numbers, which stems such as 2008_000002 are not.
                record = _record(folder, image, len(records) + 1, names, policy, num_boxes)
                num_boxes += len(record["annotations"])
                records.append(record)
            policy.close()
        log_left_out(root, left_out)
        super().__init__(records, names, source=root, image_root=root)


def _read_split(folder: Path, split: str, check_images: bool) -> list[VocImage]:
    """The annotations of a split; their ``file_name`` is that of the image that is there."""
    stems = _listed(folder, split)
    files = [folder / "Annotations" / f"{stem}.xml" for stem in stems]
    labelled = any(is_file(file) for file in files)
    images = [read_voc_xml(file) for file in files] if labelled else [VocImage()] * len(stems)
    check_not_fractions(folder, images)
    given = {stem: image.file_name for stem, image in zip(stems, images, strict=True)}
    names = image_names(folder / "JPEGImages", given)
    if check_images:
        there = list(names.values())
        check_images_exist(folder, folder / "JPEGImages", there, "complete the folder")
    images = [
        image._replace(file_name=names[stem]) for stem, image in zip(stems, images, strict=True)
    ]
    return images if labelled else _without_labels(folder, split, images)


def _without_labels(folder: Path, split: str, images: Sequence[VocImage]) -> list[VocImage]:
    """The images with the sizes of their files."""
    _logger.warning("%s: '%s' has no annotations: a test set without labels", folder, split)
    sized = []
    for image in images:
        height, width = shown_size(folder / "JPEGImages" / image.file_name)
        sized.append(image._replace(height=height, width=width))
    return sized


def shown_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file as it is read: turned as EXIF says."""
    try:
        with open_regular(str(path)) as file, open_image(file) as image:
            width, height = image.size
            return (width, height) if orientation_of(image) >= 5 else (height, width)
    except (OSError, ValueError) as error:  # Pillow's messages do not name the file
        raise ValueError(f"{path}: its size cannot be read ({error})") from None


def chosen_classes(
    source: Path, found: set[str], classes: Sequence[str] | None, may_lack_classes: bool = False
) -> list[str]:
    """The classes of a split of VOC: the given ones, or VOC's own twenty.

    Args:
        source: folder of the split, for messages.
        found: names of the classes that its objects have.
        classes: the user's choice; VOC's own may be chosen even if no object has them.
        may_lack_classes: as in ``CocoDataset``.

    Raises:
        ValueError: a given class has no object, or without a choice an object has another class.
    """
    if classes is None:
        strange = sorted(found - set(VOC_CLASSES))
        if strange:
            raise ValueError(
                f"{source}: class '{strange[0]}' is not one of VOC's; give the data's own with "
                f"dataset.classes=[...] (found: {', '.join(sorted(found))})"
            )
        return list(VOC_CLASSES)
    known = dict(enumerate(sorted(found | set(VOC_CLASSES)), start=1))
    return list(select_classes(source, known, classes, may_lack_classes).values())


def _listed(folder: Path, split: str) -> list[str]:
    """File stems of a split."""
    lists = folder / "ImageSets" / "Main"
    path = lists / f"{split}.txt"
    if not path.is_file():
        if not lists.is_dir():  # annotation programs write YOLO's classes.txt beside VOC's files
            check_not_yolo(folder.parent)
        # Names with an underscore (cat_train) are lists for one class.
        there = ", ".join(sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem))
        raise FileNotFoundError(
            f"{path}: no such list; "
            + (f"there are {there}" if there else "see datasets/README.md for VOC's layout")
        )
    stems = listed_stems(path)
    if not stems:
        raise ValueError(f"{path}: has no images; expected one name per line")
    return stems


def _record(
    folder: Path,
    annotated: VocImage,
    image_id: int,
    classes: list[str],
    policy: BoxPolicy,
    boxes_before: int,
) -> dict:
    image = {
        "file_name": str(folder / "JPEGImages" / annotated.file_name),
        "height": annotated.height,
        "width": annotated.width,
        "image_id": image_id,
    }
    annotations = []
    for number, found in enumerate(annotated.objects, start=1):
        if found.name not in classes:
            continue
        bbox = policy.admit(found.bbox, image, f"object {number} ({found.name})")
        if bbox is not None:
            annotation_id = boxes_before + len(annotations) + 1
            category = classes.index(found.name)
            # Ignored as by VOC's own evaluation, but COCO divides a crowd's intersection by the
            # detection's area and not by the union, so that more detections are ignored.
            annotations.append(
                make_annotation(annotation_id, category, bbox, iscrowd=int(found.difficult))
            )
    return image | {"annotations": annotations}
