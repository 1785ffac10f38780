"""The command line of ``train_net.py``: Detectron2's flags, strict overrides, one-line errors."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from lowres_d2.engine.allocator import keep_freed_memory
from lowres_d2.engine.environment import TIMEOUT, join_torchrun, log_environment, logging_to
from lowres_d2.engine.evaluate import evaluate_only
from lowres_d2.engine.recipe import find_recipe, load_recipe
from lowres_d2.engine.recipe_diff import describe_recipe
from lowres_d2.engine.train import train

import torch
import torch.distributed as dist
from detectron2.engine import default_argument_parser, launch
from omegaconf.errors import OmegaConfBaseException
from torch.multiprocessing import ProcessExitedException

MISTAKES = (
    ValueError,
    KeyError,
    OSError,
    ImportError,
    NotImplementedError,
    FloatingPointError,
    OmegaConfBaseException,
)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Detectron2's flags and those added here; unknown ones end the program."""
    parser = default_argument_parser(
        epilog="Overrides: key=value changes a key of the recipe, +key=value adds one."
    )
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
    args = parser.parse_args(arguments)
    misplaced = [word for word in args.opts if word.startswith("--")]
    if misplaced:
        parser.error(f"{misplaced[0]} stands after a key=value: flags come first")
    if not args.config_file:
        parser.error(
            "--config-file RECIPE is needed, e.g. configs/quick/full_fcos_small_256_plates.py"
        )
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``train_net.py``; exits with 1 and one line where the user can mend the cause."""
    run_reporting_mistakes(lambda: _run(parse(arguments)))


def run_reporting_mistakes(program: Callable[[], None]) -> None:
    """Run a program; a user's mistake becomes one line on stderr and exit code 1.

    The traceback goes to the log file of the run, if one is open, and to stderr where
    ``LOWRES_D2_TRACEBACK`` is set. Errors of other kinds are defects and keep their traceback.
    """
    keep_freed_memory()
    try:
        program()
    except KeyboardInterrupt:
        print("interrupted; --resume goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None
    except MISTAKES as error:
        if os.environ.get("LOWRES_D2_TRACEBACK"):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def one_line(error: BaseException) -> str:
    """An error's message in one line; one raised in a loader's worker loses its traceback."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [repr(error)]
    if "DataLoader worker process" in lines[0]:
        return lines[-1].split(": ", 1)[-1]
    return lines[0]


def _run(args: argparse.Namespace) -> None:
    cfg = load_recipe(args.config_file, args.opts)
    if args.print_config:
        print(describe_recipe(find_recipe(args.config_file), cfg))
        return
    if args.eval_only and not cfg.train.init_checkpoint:
        raise ValueError("--eval-only needs weights: add train.init_checkpoint=FILE")
    if cfg.train.device == "cpu":  # else processes would talk through GPUs that are not used
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if join_torchrun():
        try:
            _work(args)
        finally:
            dist.destroy_process_group()
        return
    try:
        _launch(args)
    except ProcessExitedException as error:  # the process has said why
        raise SystemExit(error.exit_code) from None


def _launch(args: argparse.Namespace) -> None:
    processes = max(1, args.num_gpus)
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ValueError(f"--num-gpus {processes}: this machine has {torch.cuda.device_count()}")
    launch(
        _work if processes * args.num_machines == 1 else _work_in_a_process,
        processes,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
        timeout=TIMEOUT,
    )


def _work_in_a_process(args: argparse.Namespace) -> None:
    if not torch.cuda.is_available():  # else every process would take all cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.num_gpus))
    run_reporting_mistakes(lambda: _work(args))


def _work(args: argparse.Namespace) -> None:
    """One process of a run; each loads the recipe itself, so that nothing needs pickling."""
    cfg = load_recipe(args.config_file, args.opts)
    with logging_to(cfg.train.output_dir):
        log_environment()
        try:
            if args.eval_only:
                evaluate_only(cfg)
            else:
                own = load_recipe(args.config_file) if args.opts else None
                train(cfg, args.resume, args.allow_partial, own)
        except Exception:
            logging.getLogger("traceback").info("the run ended here", exc_info=True)
            raise
