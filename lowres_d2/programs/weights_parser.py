"""The arguments by which programs take a trained model."""

from __future__ import annotations

import argparse


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add ``--config-file`` and ``--weights``."""
    parser.add_argument(
        "--config-file",
        metavar="RECIPE",
        help="recipe that the weights belong to; not needed where these say it, as a run's do",
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE",
        help=".pth, .pkl or .safetensors, a packed one too, the folder of a run, or the name of a "
        "quick model (`lowres-d2 models` lists them)",
    )
