"""The start-up report: the first screen of a run, which shows whether it is set up correctly.

Each line sets a part of the run beside what it has to fit: weights and model; classes of data,
model and teacher; sizes of objects and what the detector can match; caps on detections and the
image with most objects; batch size and learning rate. The main process logs it as plain text.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowres_d2 import detectron2_provider
from lowres_d2.analysis.matching.match_report import SizeRangeShare, match_shares
from lowres_d2.engine.hooks.mixed_precision import training_precision
from lowres_d2.engine.stages import Stage
from lowres_d2.engine.startup.cached_images import random_images_warning
from lowres_d2.engine.startup.labels import describe_labels
from lowres_d2.engine.startup.objects import (
    as_the_model_gets_them,
    count_objects,
    data_rows,
    finer_ranges_note,
    shared_images_warning,
    tiny_objects_warning,
)
from lowres_d2.engine.startup.pixels import other_pixels_warning
from lowres_d2.engine.startup.resolution import other_low_res_warning, other_resampler_warning
from lowres_d2.engine.startup.schedule import describe_rate, describe_stages, rate_warning
from lowres_d2.engine.startup.strides import strides_warning
from lowres_d2.engine.startup.super_resolution import describe_super_resolution
from lowres_d2.engine.startup.tiles import describe_tiles, resized_tiles_warning
from lowres_d2.engine.startup.weights import describe_weights
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling.resample.super_resolved import NETWORK, SuperResolved
from lowres_d2.modeling.super_resolution.feature_content import CLASSIFIER, FeatureContent
from lowres_d2.modeling.tiles import untiled
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.recipes.load import build

from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf
from torch import nn

logger = logging.getLogger(__name__)

FLOOR = 0.5  # warn if a smaller share of a size range's objects can be matched
# Detectron2's names for the largest number of detections of an image.
_CAPS = ("max_detections_per_image", "test_topk_per_image", "test_topk", "post_nms_topk")
_SHOWN_CLASSES = 5
_LABEL = 11  # width of the first column


@dataclass
class StartUp:
    """What a run starts with.

    Attributes:
        cfg: the recipe with its data sets built.
        model: model with its weights loaded.
        evaluator: evaluator of the test set.
        split: ``train``, or ``test`` if nothing is trained.
        weights: report of loading the initial weights or the checkpoint; None: random weights.
        start: first iteration to run.
        stages: stages of the training.
        own: the recipe without command-line overrides; None if there are no overrides.
        warnings: filled by :func:`start_up_report`.
    """

    cfg: DictConfig
    model: nn.Module
    evaluator: Any
    split: str
    weights: LoadReport | None
    start: int = 0
    stages: Sequence[Stage] = ()
    own: DictConfig | None = None
    warnings: list[str] = field(default_factory=list)


def log_start_up(run: StartUp) -> None:
    """Log the report, and a warning for each probable mistake; main process only."""
    if not comm.is_main_process():
        return
    started = time.perf_counter()
    text = start_up_report(run)
    logger.info("start-up report (%.1f s)\n%s", time.perf_counter() - started, text)
    for warning in run.warnings:
        logger.warning("%s", warning)


def start_up_report(run: StartUp) -> str:
    """The report as text; adds to ``run.warnings``."""
    rows = [
        ("runs on", _machine(run)),
        ("weights", _student_weights(run)),
        ("", _teacher_weights(run)),
        *_frozen_weights(run),
        ("classes", _classes(run)),
        *_data(run),
        *_objects(run),
        ("tiles", _tiles(run)),
        ("evaluation", _evaluation(run)),
    ]
    if run.split == "train":
        rows += [
            ("iterations", describe_rate(run.cfg, run.own, run.start)),
            ("stages", describe_stages(run.stages)),
        ]
        warning = rate_warning(run.cfg, run.own)
        run.warnings += [warning] if warning else []
    return "\n".join(f"  {label:{_LABEL}}{text}" for label, text in rows if text)


def _machine(run: StartUp) -> str:
    device = next(run.model.parameters()).device
    processes = comm.get_world_size()
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    return (
        f"{detectron2_provider()} Detectron2, {device}, "
        f"{_precision(run)}, "
        f"{processes} process{'es' if processes > 1 else ''}; {parameters / 1e6:.2f} M parameters"
    )


def _precision(run: StartUp) -> str:
    if run.split == "test" or not run.cfg.train.amp.enabled:
        return "float32"
    mixed = training_precision(run.cfg, run.model)
    if mixed is None:
        return "float32 (train.amp is off: this device has no known bfloat16 instructions)"
    return f"mixed precision ({str(mixed).removeprefix('torch.')})"


def _student_weights(run: StartUp) -> str:
    if run.weights is None:
        return f"model: none given, random initialization (train.seed {run.cfg.train.seed})"
    warnings = [
        other_pixels_warning(run.cfg, run.weights),
        strides_warning(untiled(run.model), run.weights),
    ]
    if run.split == "test":  # training may start from weights of any resolution
        warnings.append(other_resampler_warning(run.cfg, "model", run.weights, "this evaluation"))
    run.warnings += [warning for warning in warnings if warning]
    return f"model: {describe_weights(run.weights)}"


def _teacher_weights(run: StartUp) -> str:
    teacher = getattr(run.model, "teacher", None)
    if teacher is None or (teacher.report is None and run.split == "test"):
        return ""
    if teacher.cache is not None and run.split == "train":
        warning = random_images_warning(run.cfg, teacher.cache)
        run.warnings += [warning] if warning else []
    if teacher.report is None:
        return "teacher: as built (no checkpoint)"
    key, report = "model.teacher.model", teacher.report
    warnings = [
        other_pixels_warning(run.cfg, report, key, teacher.flip_channels),
        other_resampler_warning(run.cfg, key, report, "the teacher here"),
    ]
    run.warnings += [warning for warning in warnings if warning]
    return f"teacher: {describe_weights(teacher.report)}"


def _frozen_weights(run: StartUp) -> Iterator[tuple[str, str]]:
    """Networks of other runs; one that is evaluated has them in its own weights."""
    for module in run.model.modules() if run.split == "train" else ():
        if isinstance(module, SuperResolved | FeatureContent):
            what = NETWORK if isinstance(module, SuperResolved) else CLASSIFIER
            known = module.report is not None
            found = describe_weights(module.report) if known else "as built (no checkpoint)"
            yield "", f"{what}: {found}"
            if known and isinstance(module, SuperResolved):
                warning = other_low_res_warning(run.cfg, module)
                run.warnings += [warning] if warning else []


def _classes(run: StartUp) -> str:
    """Numbers of classes side by side; that they are equal was checked before."""
    teacher = getattr(run.model, "teacher", None)
    data = list(getattr(run.cfg.dataloader[run.split].dataset, "classes", []))
    numbers = {
        "data": [len(data)] if data else [],
        "model": _class_numbers(run.model),
        "teacher": _class_numbers(teacher.model) if teacher else [],
    }
    text = ", ".join(f"{who} {number[0]}" for who, number in numbers.items() if number)
    text += f": {_few(data)}" if data else ""
    learned = run.weights.classes if run.weights else []
    if learned and data and learned != data:
        text += f"; the weights were trained on {len(learned)}: {_few(learned)}"
        # With another number of classes the predictor does not fit, and is not loaded at all.
        if len(learned) == len(data):
            run.warnings.append(
                f"{run.weights.path} was trained on other classes, or on the same in another order "
                f"({_few(learned)}; the data has {_few(data)}): its class predictor is loaded all "
                "the same, and each class starts from the one at its position"
            )
    return text


def _data(run: StartUp) -> Iterator[tuple[str, str]]:
    """Where each data set is read from."""
    splits = ("train", "test") if run.split == "train" else ("test",)
    datasets = {split: run.cfg.dataloader[split].dataset for split in splits}
    yield from data_rows(datasets)
    if run.split == "train":
        warning = shared_images_warning(*datasets.values())
        run.warnings += [warning] if warning else []


def _class_numbers(model: nn.Module) -> list[int]:
    found = (getattr(module, "num_classes", None) for module in model.modules())
    return sorted({number for number in found if isinstance(number, int)})


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN_CLASSES]) + (", ..." if len(names) > _SHOWN_CLASSES else "")


def _objects(run: StartUp) -> Iterator[tuple[str, str]]:
    """Objects of each size range: their share, size in the detector's image, and share matched.

    Of a classification set, how many images its classes have.
    """
    dataset = run.cfg.dataloader[run.split].dataset
    if len(dataset) and "label" in dataset[0]:
        learned = run.split == "train" and bool(_class_numbers(run.model))
        text, warning = describe_labels(dataset, learned)
        yield "images", f"{run.split}: {text}"
        run.warnings += [warning] if warning else []
        return
    size_ranges = getattr(run.evaluator, "size_ranges", None) or SizeRanges.from_config("coco")
    by_box = run.cfg.dataloader.evaluator.get("area", "box") == "box"
    counts = count_objects(dataset, size_ranges, by_box)
    if counts is None or not counts.objects:
        crowds = getattr(dataset, "num_crowds", 0)
        what = "boxes" if counts is None else f"objects ({crowds} crowds)" if crowds else "objects"
        yield "objects", f"{run.split}: {len(dataset)} images, no {what}"
        return
    mapper = build(run.cfg, f"dataloader.{run.split}.mapper")
    images = list(as_the_model_gets_them(counts.sample, _augmentations(mapper), by_box))
    match = match_shares(run.model, images, size_ranges)
    sampled = "" if counts.counted == counts.images else f" on {counts.counted:,} of them"
    crowds = getattr(dataset, "num_crowds", 0)
    sampled += f", {crowds:,} crowds (ignored)" if crowds else ""
    yield (
        "objects",
        f"{run.split}: {counts.images:,} images, {counts.objects:,} objects{sampled}, at most "
        f"{counts.densest} on one image; matching tried on {match.images} images",
    )
    names = [size_ranges.label(name) for name in size_ranges.names]
    width = max(map(len, names))
    yield "", f"{'by size':{width}}   objects   detector sees   can be matched"
    for name, number, found in zip(names, counts.by_size_range, match.size_ranges, strict=True):
        seen, matched = _seen(found), _matched(found) if match.known else "unknown"
        share = f"{100 * number / counts.objects:.1f} %"
        yield "", f"{name:{width}}   {share:>7}   {seen:>13}   {matched}"
    if run.split == "train":  # an evaluation's tables say it of the test set
        yield "", size_ranges.why_not_all(counts.by_size_range, counts.objects)
    yield "", finer_ranges_note(counts, size_ranges)
    run.warnings += tiny_objects_warning(match, size_ranges)
    text, warning = describe_super_resolution(run.model, images)
    yield "", text
    run.warnings += [warning] if warning else []
    poor = {found.name for found in match.poor(FLOOR)}
    for found in match.size_ranges:
        if found.name in poor:
            run.warnings.append(
                f"size range {size_ranges.label(found.name)}: only {100 * found.share:.0f} % of "
                f"the objects can be matched (the detector sees {found.seen_size:.1f} px), the "
                f"detector does not learn from the others; to match more: {match.remedy}"
            )


def _tiles(run: StartUp) -> str:
    key = "dataloader.test.mapper"
    mapper = None if OmegaConf.select(run.cfg, key) is None else build(run.cfg, key)
    warning = resized_tiles_warning(run.model, _augmentations(mapper))
    run.warnings += [warning] if warning else []
    return describe_tiles(run.model)


def _seen(found: SizeRangeShare) -> str:
    return f"{found.seen_size:.1f} px" if found.objects else "-"


def _matched(found: SizeRangeShare) -> str:
    if not found.objects:
        return "none sampled"
    text = f"{100 * found.matched / found.objects:.0f} % of {found.objects}"
    rescued = f"{100 * found.rescued / found.objects:.0f}"
    if rescued != "0":
        text += f" ({rescued} % only by allow_low_quality_matches)"
    return text


def _augmentations(mapper: Any) -> Sequence[Any]:
    augmentations = getattr(mapper, "augmentations", None)
    return getattr(augmentations, "augs", augmentations) or []


def _evaluation(run: StartUp) -> str:
    dataset = run.cfg.dataloader.test.dataset
    text = f"{len(dataset):,} images"
    if getattr(dataset, "labelled_by", ""):
        text += f", no ground truth: metrics are the agreement with the {dataset.labelled_by}"
    densest = getattr(run.evaluator, "densest", None)
    if densest is None:
        return text
    caps = _caps(run.model)
    text += f", at most {densest} objects on one image; maxDets {run.evaluator.max_dets}"
    text += "".join(f", the model's {name} {cap}" for name, cap in caps.items())
    for name, cap in caps.items():
        # The suggestion is what the evaluator takes for maxDets: 1.5 times the objects.
        if cap < densest:
            run.warnings.append(
                f"the model returns at most {cap} detections per image, but one image of the test "
                f"set has {densest} objects: raise {name} to {math.ceil(1.5 * densest)}"
            )
    return text


def _caps(model: nn.Module) -> dict[str, int]:
    """A model's limits on the number of detections of an image, by name."""
    found = {}
    for module in model.modules():
        for name in _CAPS:
            value = getattr(module, name, None)
            value = value.get(False) if isinstance(value, dict) else value  # training, evaluation
            # Detectron2's -1 means no limit.
            if isinstance(value, int) and value >= 0:
                found[name] = value
    return found
