"""Checks ids, names and flags of images, annotations and categories."""

from __future__ import annotations

from collections import Counter, defaultdict

from lowres_d2.data.datasets.image_folder import leaves_folder
from lowres_d2.data.datasets.json_values import is_whole
from lowres_d2.data.validation.findings import Check, Findings
from lowres_d2.data.validation.split import Split

NO_ID = Check("id-invalid", "error", "ids that are not whole numbers", "number them 1, 2, ...")
TWICE = Check("id-twice", "error", "ids that occur twice", "give each entry a unique id")
NO_IMAGE = Check(
    "image-unknown",
    "error",
    "annotations of an image that is not listed",
    "list the image, or remove its annotations",
)
NO_CATEGORY = Check(
    "category-unknown",
    "error",
    "annotations of a category that is not listed",
    "list the category; ids must be those of 'categories', which need not start at 0 or 1",
)
BAD_IMAGE = Check(
    "image-invalid",
    "error",
    "images without file_name, or whose height or width is not a positive whole number",
    "complete the file",
)
BAD_NAME = Check("category-name", "error", "categories without a name", "name them")
SAME_NAME = Check("category-twice", "error", "categories of the same name", "merge or rename them")
SAME_FILE = Check(
    "file-twice",
    "warning",
    "images listed under several ids",
    "list each once with all objects: detections of the other ids' objects are false positives",
)
OUTSIDE = Check(
    "file-outside",
    "warning",
    "images whose file_name leads out of their folder",
    "the files there are read: correct the names if that is not wanted",
)
BAD_CROWD = Check("iscrowd-invalid", "error", "iscrowd that is neither 0 nor 1", "write 0 or 1")
FLAGGED = Check(
    "flag-unread",
    "warning",
    "annotations with a flag that is not read: they count as objects in training and evaluation",
    "set iscrowd to 1 for ignore regions, or remove them",
)
IGNORED_CLASS = Check(
    "category-ignored",
    "warning",
    "categories whose name says that they are not a class",
    "leave them out with classes=[...], or they count in AP and in the number of classes",
)
FROM_ZERO = Check(
    "category-zero",
    "info",
    "categories with id 0",
    "fine here; programs that take 0 for background drop or shift them",
)
ANNOTATION_ZERO = Check(
    "annotation-zero",
    "info",
    "annotations with id 0",
    "fine here; pycocotools takes 0 for 'not matched' and never counts the object as found",
)

# Of TinyPerson, VOC and others. pycocotools overwrites 'ignore' by iscrowd.
_FLAGS = ("ignore", "ignored", "uncertain", "difficult")
# VisDrone has 'ignored regions', KITTI 'DontCare'.
_NO_CLASSES = {
    "background", "__background__", "bg", "ignore", "ignored", "ignored regions", "dontcare",
    "don't care", "void",
}  # fmt: skip


def check_ids(split: Split, findings: Findings) -> None:
    """Check ids, references, names and flags."""
    for section in ("images", "annotations", "categories"):
        _check_section(split, findings, section)
    _check_images(split, findings)
    _check_categories(split, findings)
    listed = {image.get("id") for image in split.images if is_whole(image.get("id"))}
    for entry in split.annotations:
        if not is_whole(entry.get("image_id")) or entry["image_id"] not in listed:
            detail = f"image_id {entry.get('image_id')!r}"
            findings.add(NO_IMAGE, split.name, split.suspect(entry, detail))
        if not is_whole(entry.get("category_id")) or entry["category_id"] not in split.name_of:
            detail = f"category_id {entry.get('category_id')!r}"
            findings.add(NO_CATEGORY, split.name, split.suspect(entry, detail))
        if entry.get("iscrowd", 0) not in (0, 1):
            detail = f"iscrowd {entry['iscrowd']!r}"
            findings.add(BAD_CROWD, split.name, split.suspect(entry, detail))
        flags = [key for key in _FLAGS if entry.get(key) and not entry.get("iscrowd")]
        if flags:
            findings.add(FLAGGED, split.name, split.suspect(entry, ", ".join(flags)))
        if is_whole(entry.get("id")) and entry["id"] == 0:
            findings.add(ANNOTATION_ZERO, split.name, split.suspect(entry))


def _check_section(split: Split, findings: Findings, section: str) -> None:
    counts: Counter = Counter()
    for position, entry in enumerate(getattr(split, section)):
        key = entry.get("id")
        if section == "annotations" and "id" not in entry:  # CocoDataset numbers these itself
            continue
        where = f"{section}[{position}] has id {key!r}"
        if not is_whole(key):
            findings.add(NO_ID, split.name, where)
            continue
        counts[key] += 1
        if counts[key] > 1:
            findings.add(TWICE, split.name, where)


def _check_images(split: Split, findings: Findings) -> None:
    ids_of = defaultdict(list)
    for image in split.images:
        name, size = image.get("file_name"), (image.get("width"), image.get("height"))
        if not isinstance(name, str) or not name:
            findings.add(BAD_IMAGE, split.name, split.suspect_image(image, "no file_name"))
            continue
        ids_of[name].append(image.get("id"))
        if leaves_folder(name):
            findings.add(OUTSIDE, split.name, split.suspect_image(image))
        if not all(is_whole(side) and side > 0 for side in size):
            detail = f"width {size[0]!r}, height {size[1]!r}"
            findings.add(BAD_IMAGE, split.name, split.suspect_image(image, detail))
    for name, ids in ids_of.items():
        if len(ids) > 1:
            findings.add(SAME_FILE, split.name, f"{name}: images {', '.join(map(str, ids))}")


def _check_categories(split: Split, findings: Findings) -> None:
    ids_of = defaultdict(list)
    for category in split.categories:
        key, name = category.get("id"), category.get("name")
        if not isinstance(name, str) or not name.strip():
            findings.add(BAD_NAME, split.name, f"category {key} has name {name!r}")
            continue
        ids_of[name].append(key)
        used = split.classes is None or name in split.classes
        if used and name.strip().lower() in _NO_CLASSES:
            findings.add(IGNORED_CLASS, split.name, f"category {key}: {name}")
        if is_whole(key) and key == 0:
            findings.add(FROM_ZERO, split.name, f"category 0: {name}")
    for name, ids in ids_of.items():
        if len(ids) > 1:
            findings.add(SAME_NAME, split.name, f"{name}: ids {', '.join(map(str, ids))}")
