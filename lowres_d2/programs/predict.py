"""Detect on any number of images, in a run that goes on after a kill.

Detections are parquet files in DIR/detections, a row for each image; --coco writes them as one COCO
json, too. Images that cannot be used are listed in DIR/broken.jsonl, and stop nothing. The same
command goes on where a run was interrupted. It needs ``pip install 'lowres-d2[predict]'``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lowres_d2.cores import num_cores
from lowres_d2.predictor.inputs import Inputs
from lowres_d2.programs.boxes_only import check_finds_boxes
from lowres_d2.programs.command_lines.predict import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.opened_weights import opened_weights
from lowres_d2.progress import image_progress

import torch
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from lowres_d2.predictor import Predictor
    from lowres_d2.predictor.scale.job import Job


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    args = parse(arguments)
    run_reporting_mistakes(lambda: _run(args), interrupted="interrupted: start again to go on")


def _run(args: argparse.Namespace) -> None:
    # Here, so that a missing pyarrow is a line, and no traceback.
    from lowres_d2.predictor.scale.batches import BatchReader
    from lowres_d2.predictor.scale.job import Job
    from lowres_d2.predictor.scale.model import Model
    from lowres_d2.predictor.scale.results import write_broken, write_coco
    from lowres_d2.predictor.scale.run import opened
    from lowres_d2.predictor.scale.sources import find_source

    if args.engine == "ray":
        from lowres_d2.predictor.scale.on_ray import check_answers  # it may be missing, too

        check_answers(args.address)
    source = find_source(args.input, args.image_column, args.id_column)
    cfg, identity = opened_weights(args)
    _check_recipe(cfg, args.weights)
    model, devices = Model.of(cfg, identity), args.devices or _devices(cfg.train.device)
    here = args.engine == "local" and len(devices) == 1
    predictor = model.load(devices[0] if here else "cpu")  # elsewhere it is checked, and not used
    fixed = (source, model, predictor.class_names, args.score, args.shard_size)
    with opened(args.output, *fixed) as run:
        missing, total = run.missing(), run.about["images"]
        begun = total - run.num_images(missing)
        if begun:
            print(f"{args.output}: {begun:,} of {total:,} images were done before", flush=True)
        start = time.perf_counter()
        if len(missing):
            inputs = Inputs(predictor.mapper)
            reader = BatchReader(run.manifest, source.kind, source.column, inputs, args.batch_size)
            job = Job(missing, reader, model, args.score, run.shards)
            with image_progress(total, begun) as done:
                _look(args, job, predictor, devices, done)
        seconds = time.perf_counter() - start
        counts = write_broken(run)
        if args.coco:
            write_coco(run)
    if counts.broken == total:
        raise ValueError(f"none of the {total:,} images can be used: {run.broken_file} says why")
    print(
        f"{total - begun:,} images in {seconds:.1f} s, {(total - begun) / seconds:.1f} a second; "
        f"{counts.detections:,} detections on {total - counts.broken:,} images in {run.results}"
    )
    if counts.broken:
        print(f"{counts.broken:,} of {total:,} images are broken: {run.broken_file} says why")


def _look(
    args: argparse.Namespace,
    job: Job,
    predictor: Predictor,
    devices: Sequence[str],
    done: Callable[[int], None],
) -> None:
    """Look at the images with the engine that was asked for."""
    if args.engine == "ray":
        from lowres_d2.predictor.scale.on_ray import predict_on_ray

        predict_on_ray(job, devices[0], args.address, args.workers, done)
        return
    from lowres_d2.predictor.scale.detect import Detect
    from lowres_d2.predictor.scale.local import predict_locally

    workers = args.workers
    if workers is None:  # a core is the model's
        workers = max(num_cores() // len(devices) - 1, 0)
    predict_locally(job, Detect(lambda: predictor, args.score), devices, workers, done)


def _devices(wish: str) -> list[str]:
    """All GPUs, where the recipe leaves the choice and there are several."""
    number = torch.cuda.device_count() if wish in ("auto", "cuda") else 0
    return [f"cuda:{k}" for k in range(number)] if number > 1 else [wish]


def _check_recipe(cfg: DictConfig, weights: str) -> None:
    check_finds_boxes(cfg, weights)
    key = "dataloader.test.mapper.windows"
    if OmegaConf.select(cfg, key):
        raise ValueError(
            f"{key}=true: the processes that read images pass them on as a whole: add {key}=false"
        )
