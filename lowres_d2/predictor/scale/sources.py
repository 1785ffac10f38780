"""What an input is: a folder, image files, a COCO json file, parquet files or tar files."""

from __future__ import annotations

import glob
import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lowres_d2.data.datasets.image_folder import first_few
from lowres_d2.data.datasets.unlabelled import UnlabelledImages
from lowres_d2.data.image import ENDINGS
from lowres_d2.data.image.files import walk_images
from lowres_d2.predictor.scale.places import Place, Source, place_of
from lowres_d2.predictor.scale.tables import id_column, image_column, places_in_tables
from lowres_d2.predictor.scale.tars import places_in_tars

from braceexpand import UnbalancedBracesError, braceexpand

FOLDER, IMAGE, COCO, PARQUET, TAR = "folder", "image", "COCO json", "parquet", "tar"
KINDS = {".json": COCO, ".parquet": PARQUET, ".tar": TAR} | dict.fromkeys(ENDINGS, IMAGE)
EXPECTED = "expected a folder, images, a COCO json, .parquet or .tar files"


def find_source(given: Sequence[str], image: str | None = None, ids: str | None = None) -> Source:
    """The images that words of a command line name.

    Args:
        given: a folder, a COCO json file, or files of one kind; they may be globs, and have braces
            as in ``shard-{000..009}.tar``.
        image: column of the images in parquet files; None: the only one that can hold them.
        ids: column of their ids; None: one with a name that ids have, if there is one.

    Raises:
        FileNotFoundError: something names no file.
        ValueError: it is none of these, or of several kinds.
    """
    files = list(dict.fromkeys(itertools.chain.from_iterable(map(_expanded, given))))
    said = " ".join(given)
    kinds = {_kind(file): file for file in files}
    if len(kinds) > 1:
        several = ", ".join(f"{file} ({kind})" for kind, file in kinds.items())
        raise ValueError(f"--input {said}: is of several kinds, {several}: give one of them")
    (kind,) = kinds
    if kind in (FOLDER, COCO) and len(files) > 1:
        raise ValueError(f"--input {said}: are {len(files)}: give one {kind} at a time")
    if kind != PARQUET and (image or ids):
        raise ValueError("--image-column and --id-column are for parquet files")
    column = ""
    if kind == FOLDER:
        read, places = "files", partial(_of_folder, files[0])
    elif kind == COCO:
        read, places = "files", partial(_of_json, files[0])
    elif kind == TAR:
        read, places = "tars", partial(places_in_tars, files)
    elif kind == PARQUET:
        read, column = "tables", image_column(files, image)
        places = partial(places_in_tables, files, column, id_column(files, ids))
    else:
        read, places = "files", partial(_of_files, files)
    return Source(read, places, column, tuple(given))


def _expanded(word: str) -> list[str]:
    """The files of a word."""
    if os.path.exists(word):
        return [word]
    try:
        words = list(braceexpand(word, escape=False))
    except UnbalancedBracesError:
        words = [word]
    found = [[name] if os.path.exists(name) else _matches(name) for name in words]
    for name, files in zip(words, found, strict=True):
        if not files:
            raise FileNotFoundError(
                f"--input {name}: no such file or folder, and no file matches it"
            )
    return list(itertools.chain.from_iterable(found))


def _matches(pattern: str) -> list[str]:
    """Files that a glob finds; those of no known kind are said to be left out."""
    files = sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
    known = [file for file in files if Path(file).suffix.lower() in KINDS]
    if known and len(known) < len(files):
        others = [file for file in files if Path(file).suffix.lower() not in KINDS]
        print(f"--input {pattern}: left out, no images: {first_few(others)}", file=sys.stderr)
    return known or files


def _kind(file: str) -> str:
    if os.path.isdir(file):
        return FOLDER
    kind = KINDS.get(Path(file).suffix.lower())
    if kind is None:
        packed = re.search(r"\.(tar\.\w+|tgz)$", file)
        more = ", uncompressed: gunzip it first" if packed else ""
        raise ValueError(f"--input {file}: is of no known kind: {EXPECTED}{more}")
    return kind


def _of_folder(folder: str) -> Iterator[Place]:
    for name in walk_images(folder):
        yield place_of(name, os.path.abspath(os.path.join(folder, name)))


def _of_files(files: Sequence[str]) -> Iterator[Place]:
    for file in files:
        yield place_of(file, os.path.abspath(file))


def _of_json(file: str) -> Iterator[Place]:
    images = UnlabelledImages(file)
    for record in images:
        number = record["image_id"]
        yield place_of(images.names[number], os.path.abspath(record["file_name"]), number)
