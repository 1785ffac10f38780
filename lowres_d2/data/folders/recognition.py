"""Which data set a folder holds; nothing is guessed where it could be two."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from lowres_d2.data.folders import coco_folder, voc_folder
from lowres_d2.data.folders.coco_folder import find_coco
from lowres_d2.data.folders.layout import Finder, FolderData, split_folders
from lowres_d2.data.folders.voc_folder import find_voc
from lowres_d2.data.folders.yolo import find_yolo
from lowres_d2.data.folders.yolo import folder as yolo_folder
from lowres_d2.data.image import readable_endings

FINDERS: dict[str, Finder] = {"coco": find_coco, "yolo": find_yolo, "voc": find_voc}
_PLACES = {"coco": coco_folder.PLACES, "yolo": yolo_folder.PLACES, "voc": voc_folder.PLACES}
_SHOWN = 8  # names of a folder in messages
_NO_CLASSES = ("images", "labels", "annotations", "jpegimages")
_YAMLS = (".yaml", ".yml")


def recognise(path: str | Path, form: str | None = None) -> FolderData:
    """The data set of a folder.

    Args:
        path: the folder; of YOLO's format its ``data.yaml``, too.
        form: "coco", "yolo" or "voc"; None: the only one that is there.

    Raises:
        FileNotFoundError: there is no such folder, or no data set in it.
        ValueError: there are several data sets, or a data set is broken.
    """
    path = Path(path).expanduser()
    if form is not None and form not in FINDERS:
        raise ValueError(f"data.format={form!r}: expected {', '.join(FINDERS)}, or null")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder; give the folder of a data set")
    if path.is_file():
        return _of_file(path)
    found = _found(path, form)
    if len(found) > 1:
        each = "; ".join(f"{data.form} ({data.marks})" for data in found.values())
        raise ValueError(
            f"{path}: has several data sets: {each}; say which with data.format="
            f"{' or '.join(found)}"
        )
    if found:
        return next(iter(found.values()))
    wanted = [form] if form else [*FINDERS]
    looked = "; ".join(f"{name.upper()}: {_PLACES[name]}" for name in wanted)
    raise FileNotFoundError(
        f"{path}: no data set was recognised (looked for {looked}); {_there(path)}"
    )


def _found(path: Path, form: str | None = None) -> dict[str, FolderData]:
    names = [form] if form else [*FINDERS]
    found = {name: FINDERS[name](path) for name in names}
    return {name: data for name, data in found.items() if data is not None}


def _of_file(path: Path) -> FolderData:
    if path.suffix.lower() in _YAMLS:
        found = find_yolo(path)
        assert found is not None
        return found
    raise ValueError(
        f"{path}: is a file: give the folder of the data set, or YOLO's data.yaml; COCO json files "
        "are given as data.train_json=FILE data.val_json=FILE"
    )


def _there(path: Path) -> str:
    """What a folder has in place of a data set, for a message."""
    names = sorted(place.name + "/" * place.is_dir() for place in islice(path.iterdir(), 1000))
    if not names:
        return "it is empty"
    more = f", ... ({len(names)})" if len(names) > _SHOWN else ""
    if any(_has_class_folders(place) for _, place in split_folders(path)):
        return (
            f"it has {', '.join(names[:_SHOWN])}{more}: these are class folders, to classify "
            f"images: configs/own_data/full_resnet18_32_own.py takes them, data.path={path}"
        )
    inner = [place for place in sorted(path.iterdir()) if place.is_dir() and _is_one(place)]
    hint = f"; {inner[0]} has one" if inner else "; lowres-d2 convert-data reads other formats"
    return f"it has {', '.join(names[:_SHOWN])}{more}{hint}"


def _has_class_folders(split: Path) -> bool:
    """Whether a split has images in folders that are not called after a detection format's."""
    places = [place for place in islice(split.iterdir(), 1000) if place.is_dir()]
    if any(place.name.lower() in _NO_CLASSES for place in places):
        return False
    return any(
        file.suffix.lower() in readable_endings()
        for place in places
        for file in islice(place.iterdir(), _SHOWN)
    )


def _is_one(place: Path) -> bool:
    try:
        return bool(_found(place))
    except (ValueError, OSError):  # one that is broken is one
        return True
