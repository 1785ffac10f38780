"""The arguments that the programs which check a downloaded data set have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lowres_d2.programs.parser import Parser


def root_parser(title: str, folder: str, content: str) -> argparse.ArgumentParser:
    """A parser with ``--root``.

    Args:
        title: of the data set.
        folder: its folder in that of all data sets, ``DETECTRON2_DATASETS`` or ``datasets``.
        content: what lies in the folder.
    """
    parser = Parser(
        description=f"Check that {title} is where the recipes look, and count it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--root", type=Path, default=data_root(folder), metavar="DIR", help=f"folder {content}"
    )
    return parser


def data_root(folder: str) -> Path:
    """A data set's folder, where the recipes look too."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / folder
