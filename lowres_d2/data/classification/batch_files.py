"""Batch files of CIFAR and of down-sampled ImageNet: pickles of a dict with pixels and labels.

Pixels are rows of 3 side^2 bytes: the red plane, then the green and the blue one, each row by row.
They are unpickled without executing anything in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowres_d2.data.classification.labelled import check_labels
from lowres_d2.safe_pickle import read_pickle

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

AGAIN = "download it again"
_KEY = "dataloader.train.dataset.root=FOLDER names another place"


def find_folder(
    root: str | Path, name: str, files: Sequence[str], download: str, others: Sequence[str] = ()
) -> Path:
    """The folder of a data set: ``name`` in ``root``, or ``root`` itself.

    Args:
        root: given by the user.
        name: name of the folder in the original archive.
        files: files that it must have.
        download: what has these files and where to get it, for the message.
        others: further files of the data set, by which its folder is known where it lacks some.

    Raises:
        FileNotFoundError: names the folder or the file that is missing.
    """
    root = Path(root).expanduser()
    beside = root / name
    known = root.name == name or any((root / file).exists() for file in (*files, *others))
    folder = root if not beside.is_dir() and root.is_dir() and known else beside
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with {download}; {_KEY}")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: has no {', '.join(missing)}; expected {download}; {_KEY}"
        )
    return folder


def read_dict(path: Path, kind: str) -> dict[str, Any]:
    """The dict in a pickle; its keys are text, also where the file has bytes.

    Args:
        path: the file.
        kind: what it should be, for the message.

    Raises:
        ValueError: it is damaged, no dict, or names a function.
    """
    try:
        content = read_pickle(path)
    except Exception as error:  # unpickling a broken file can raise anything
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as {kind} ({first[:200]}): expected a pickle of plain values; "
            f"{AGAIN}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is a {type(content).__name__}, expected a dict: {kind}")
    return {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in content.items()}


def read_batch(
    path: Path, kind: str, label_key: str, allowed: range, side: int = 32
) -> tuple[UInt8[Tensor, "N 3 H W"], list[int]]:
    """Images and labels of a batch file.

    Args:
        path: the file.
        kind: what it should be, such as "a batch of CIFAR-10", for messages.
        label_key: key of the labels.
        allowed: labels that the file may have; the first one becomes 0.
        side: height and width of the images.

    Raises:
        ValueError: the file is damaged, is of another data set or version, or has a label out of
            range.
    """
    content = read_dict(path, kind)
    if "data" not in content or label_key not in content:
        found = ", ".join(sorted(content)[:8]) or "nothing"
        raise ValueError(
            f"{path}: is not {kind}: has the keys {found}, expected data and {label_key}; give the "
            "python version of that data set"
        )
    pixels, labels = content["data"], content[label_key]
    shape = getattr(pixels, "shape", None)
    if shape is None or pixels.dtype != np.uint8 or len(shape) != 2 or shape[1] != 3 * side**2:
        found = type(pixels).__name__ if shape is None else f"{pixels.dtype} of shape {shape}"
        raise ValueError(
            f"{path}: is not {kind}: its data are {found}, expected uint8 of shape "
            f"(N, {3 * side**2}), images of {side}x{side}"
        )
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()  # no list where it has no dimensions
    if not isinstance(labels, list) or len(labels) != len(pixels):
        number = len(labels) if isinstance(labels, list) else "no list of"
        raise ValueError(f"{path}: has {len(pixels)} images, but {number} {label_key}; {AGAIN}")
    check_labels(labels, allowed, path)
    # An array from a pickle may be read-only, and torch warns of it.
    images = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy())
    return images.reshape(-1, 3, side, side), [label - allowed[0] for label in labels]


def read_batches(
    paths: Sequence[Path], kind: str, label_key: str, allowed: range
) -> tuple[UInt8[Tensor, "N 3 H W"], list[int]]:
    """Images and labels of several batch files, one after the other.

    Raises:
        ValueError: as :func:`read_batch`.
    """
    parts, labels = [], []
    for path in paths:
        images, found = read_batch(path, kind, label_key, allowed)
        parts.append(images)
        labels += found
    # Each part is dropped once it is copied: together they may be most of the memory.
    whole = torch.empty((len(labels), *parts[0].shape[1:]), dtype=torch.uint8)
    first = 0
    while parts:
        part = parts.pop(0)
        whole[first : first + len(part)] = part
        first += len(part)
    return whole, labels


def read_names(path: Path, key: str, number: int) -> list[str]:
    """Class names in the file that comes with the batches.

    Raises:
        ValueError: it does not have that many.
    """
    names = read_dict(path, "a list of class names").get(key)
    if not isinstance(names, list) or len(names) != number:
        found = len(names) if isinstance(names, list) else "no"
        raise ValueError(f"{path}: has {found} {key}, expected {number}; {AGAIN}")
    return [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names]
