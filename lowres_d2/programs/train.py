"""Train a recipe, or evaluate it (--eval-only), with Detectron2's flags."""

from __future__ import annotations

import argparse
import logging
import os
import re
import traceback
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.engine.closing import describe_interruption
from lowres_d2.engine.evaluate import evaluate_only
from lowres_d2.engine.processes.environment import (
    TIMEOUT,
    join_group,
    meet,
)
from lowres_d2.engine.processes.first_failure import FirstFailure
from lowres_d2.engine.processes.log_files import log_environment, logging_to
from lowres_d2.engine.processes.membership import (
    Membership,
    can_be_restarted,
    find_membership,
    restarts,
)
from lowres_d2.engine.run_folder import ANEW
from lowres_d2.engine.train import train
from lowres_d2.modeling.run_weights import LAST
from lowres_d2.programs.command_lines.train import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.recipes.diff import describe_recipe
from lowres_d2.recipes.find import find_recipe
from lowres_d2.recipes.load import load_recipe

import torch
import torch.distributed as dist
from detectron2.engine import launch
from detectron2.utils import comm
from omegaconf import DictConfig
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; exits with 1 and one line where the user can mend the cause."""
    run_reporting_mistakes(lambda: _run(parse(arguments)))


def _run(args: argparse.Namespace) -> None:
    member = find_membership(os.environ)
    if member is None:
        cfg = load_recipe(args.config_file, args.opts)
        if _is_to_run(args, cfg):
            _launch(args)
        return
    store = meet(member)
    failure = FirstFailure(store, member.hosts_store)
    failure.watch()
    run_reporting_mistakes(lambda: _run_as_member(args, member, store), failure)
    failure.leave()


def _is_to_run(args: argparse.Namespace, cfg: DictConfig, main: bool = True) -> bool:
    """Whether there is more to do than to show the recipe, which the main process does."""
    if args.print_config:
        if main:
            print(describe_recipe(find_recipe(args.config_file), cfg))
        return False
    if args.eval_only and not cfg.train.init_checkpoint:
        raise ValueError("--eval-only needs weights: add train.init_checkpoint=FILE")
    if cfg.train.device == "cpu":  # else processes would talk through GPUs that are not used
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return True


def _run_as_member(args: argparse.Namespace, member: Membership, store: dist.Store) -> None:
    for flag, number in (("num-gpus", args.num_gpus), ("num-machines", args.num_machines)):
        if number > 1:
            raise ValueError(
                f"--{flag} {number} and {member.launcher} contradict each other, both start "
                f"processes: leave --{flag} out, or start one process"
            )
    cfg = load_recipe(args.config_file, args.opts)
    if not _is_to_run(args, cfg, main=member.rank == 0):
        return
    join_group(member, store)
    _work(args)
    comm.synchronize()  # the store may end with the first process that leaves
    dist.destroy_process_group()


def _launch(args: argparse.Namespace) -> None:
    _check_machines(args)
    processes = max(1, args.num_gpus)
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ValueError(f"--num-gpus {processes}: this machine has {torch.cuda.device_count()}")
    if processes * args.num_machines == 1:
        _work(args)
        return
    # Of this machine's processes and this one, which outlives them.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    run_reporting_mistakes(lambda: _spawn(args, processes, store.port), FirstFailure(store))


def _check_machines(args: argparse.Namespace) -> None:
    """Raise where flags of several processes or machines contradict each other."""
    if args.num_gpus < 0 or args.num_machines < 1:
        raise ValueError(
            f"--num-gpus {args.num_gpus} --num-machines {args.num_machines}: expected 0 or more "
            "processes on each of 1 or more machines"
        )
    if not 0 <= args.machine_rank < args.num_machines:
        raise ValueError(
            f"--machine-rank {args.machine_rank}: expected 0 to {args.num_machines - 1}, for "
            f"--num-machines {args.num_machines}"
        )
    url, several = args.dist_url, args.num_machines > 1
    wanted = "--dist-url tcp://HOST:PORT, a free port of machine 0"
    if several and url == "auto":
        raise ValueError(
            f"--num-machines {args.num_machines} needs {wanted} that all machines can reach: {url} "
            "is for one machine"
        )
    if url != "auto" and not re.fullmatch(r"tcp://.+:\d{1,5}|(file|env)://.*", url or ""):
        raise ValueError(f"--dist-url {url}: expected auto, or {wanted}")


def _spawn(args: argparse.Namespace, processes: int, port: int) -> None:
    try:
        launch(
            _work_in_a_process,
            processes,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args, port),
            timeout=TIMEOUT,
        )
    except ProcessRaisedException as error:  # in launch: our own part ends with an exit code
        reason = str(error).strip().splitlines()[-1]
        raise ConnectionError(
            f"the processes could not meet at {args.dist_url} ({reason}): give --dist-url a free "
            "port, or auto"
        ) from None
    except ProcessExitedException as error:
        if error.exit_code > 0:  # the process has said why
            raise SystemExit(error.exit_code) from None
        raise ChildProcessError(
            f"process {error.error_index} of {processes} was ended by {error.signal_name} (by "
            "hand, or by the system for lack of memory); --resume continues from its last "
            "checkpoint, if there is one"
        ) from None


def _work_in_a_process(args: argparse.Namespace, port: int) -> None:
    if not torch.cuda.is_available():  # else every process would take all cores
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // max(1, args.num_gpus)))
    failure = FirstFailure(dist.TCPStore("127.0.0.1", port, wait_for_workers=False))
    failure.watch()
    try:
        run_reporting_mistakes(lambda: _work(args), failure)
    except Exception:  # a defect: the parent would show two tracebacks
        traceback.print_exc()
        raise SystemExit(1) from None
    failure.leave()


def _work(args: argparse.Namespace) -> None:
    """One process of a run; each loads the recipe itself, so that nothing needs pickling."""
    cfg = load_recipe(args.config_file, args.opts)
    with logging_to(cfg.train.output_dir):
        log_environment()
        try:
            if args.eval_only:
                evaluate_only(cfg, args.quick)
            else:
                own = load_recipe(args.config_file) if args.opts else None
                train(cfg, _resumes(args, cfg), args.allow_partial, own)
        except Exception:
            logging.getLogger("traceback").info("the run ended here", exc_info=True)
            raise
        except KeyboardInterrupt:
            if args.eval_only:
                raise
            raise KeyboardInterrupt(describe_interruption(cfg)) from None


def _resumes(args: argparse.Namespace, cfg: DictConfig) -> bool:
    """Whether to resume: if asked to, or if ``torchrun`` or SLURM has restarted a run.

    A restarted one begins anew if the attempt before it was to, and was ended before it did.
    """
    folder = Path(cfg.train.output_dir)
    saved = (folder / LAST).is_file()
    if args.resume:
        return True
    if restarts(os.environ):
        return saved and not (folder / ANEW).exists()
    if saved and comm.is_main_process() and can_be_restarted(os.environ):
        (folder / ANEW).touch()
    return False
