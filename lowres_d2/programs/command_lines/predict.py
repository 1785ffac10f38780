"""Command line of ``predict``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.key_values import move_overrides
from lowres_d2.programs.parser import Parser
from lowres_d2.programs.weights_parser import add_weights


def make_parser() -> argparse.ArgumentParser:
    """Arguments of the program."""
    parser = Parser(description=docstring_of(file_of("predict")))
    add_weights(parser)
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="a folder, images, a COCO json file, .parquet files with images or paths, .tar files "
        "such as WebDataset's; globs and braces are resolved, too: 'shard-{000..009}.tar'",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="of the run")
    parser.add_argument(
        "--score",
        type=float,
        default=0.05,
        metavar="SCORE",
        help="lowest score that is kept, default %(default)s",
    )
    parser.add_argument(
        "--coco", action="store_true", help="write DIR/detections.json, a COCO json file, too"
    )
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="default 8")
    _add_engine(parser)
    parser.add_argument(
        "--shard-size",
        type=int,
        metavar="N",
        help="images of an output file, and so the most that each process does again after a kill; "
        "default 1000",
    )
    parser.add_argument(
        "--image-column", metavar="NAME", help="of parquet files; default: the one that has images"
    )
    parser.add_argument(
        "--id-column", metavar="NAME", help="of parquet files; default: image_id, file_name, ..."
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine, or Ray's actors on any cluster (pip install 'lowres-d2[scale]'); "
        "default %(default)s",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster, or auto for that of this machine; default RAY_ADDRESS, else a Ray "
        "that is started and ended with the run",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that read images, for each device, default one less than it has cores; 0: "
        "that with the model reads them; with Ray those with the model, default as many as fit",
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        help="a process with the model for each, such as cuda:0 cuda:1; default all GPUs, else the "
        "CPU",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; ends the program where a number cannot be."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if not 0 <= args.score <= 1:
        parser.error(f"--score {args.score:g}: expected 0 to 1")
    for name, smallest in {"batch_size": 1, "shard_size": 1, "workers": 0}.items():
        value = getattr(args, name)
        if value is not None and value < smallest:
            flag = f"--{name.replace('_', '-')}"
            parser.error(f"{flag} {value}: expected {smallest} or more")
    if args.engine == "ray" and (args.workers == 0 or args.devices):
        parser.error("--devices and --workers 0 are for --engine local")
    if args.engine == "local" and args.address:
        parser.error("--address is for --engine ray")
    move_overrides(args, "input", "devices")
    return args
