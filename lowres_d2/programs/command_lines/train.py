"""Command line of ``train``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lowres_d2.programs.command import docstring_of, file_of
from lowres_d2.programs.parser import Parser


def make_parser() -> argparse.ArgumentParser:
    """Detectron2's flags, whose own parser takes torch, and those added here."""
    parser = Parser(
        description=docstring_of(file_of("train")),
        epilog="Overrides: key=value changes a key of the recipe, +key=value adds one.",
    )
    parser.add_argument("--config-file", default="", metavar="RECIPE", help="what to train")
    parser.add_argument(
        "--resume", action="store_true", help="continue from the output folder's last checkpoint"
    )
    parser.add_argument(
        "--eval-only", action="store_true", help="evaluate train.init_checkpoint, do not train"
    )
    _add_processes(parser)
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="show what the recipe changes against the files it imports, and stop",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="start training also where much of train.init_checkpoint has no place in the model",
    )
    parser.add_argument(
        "--quick",
        type=int,
        default=0,
        metavar="N",
        help="with --eval-only: evaluate on N images (200, say) spread over the test set; the "
        "metrics' names say so",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY=VALUE", help="changes to the recipe")
    return parser


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, a GPU each where there are GPUs, default %(default)s",
    )
    parser.add_argument(
        "--num-machines", type=int, default=1, metavar="N", help="default %(default)s"
    )
    parser.add_argument(
        "--machine-rank", type=int, default=0, metavar="N", help="which of them this is, from 0"
    )
    parser.add_argument(
        "--dist-url",
        default="auto",
        metavar="URL",
        help="where the processes of several machines meet, tcp://HOST:PORT; default: a free port "
        "of this machine",
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)
    if args.quick < 0 or (args.quick and not args.eval_only):
        parser.error("--quick takes a number of images, and stands with --eval-only")
    if not args.config_file:
        parser.error(
            "--config-file RECIPE is needed, e.g. configs/quick/full_fcos_small_256_plates.py"
        )
    return args
