"""What a recipe says of its data and its model, for the validation of the data."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from lowres_d2.analysis.matching.match_report import TINY, match_shares
from lowres_d2.data.datasets import VOC_CLASSES, BoxDataset, CocoDataset, VocDataset
from lowres_d2.data.datasets.voc import chosen_classes
from lowres_d2.data.folders import own_dataset, recognise
from lowres_d2.data.folders.own import chosen_split
from lowres_d2.data.image import reader_of
from lowres_d2.data.validation import Check, Findings, Split, read_split
from lowres_d2.data.validation.folders import read_folder_split
from lowres_d2.data.validation.read import join_splits, split_of_dataset
from lowres_d2.data.validation.report import ModelFacts
from lowres_d2.engine.channels import check_channels, follow_channels
from lowres_d2.engine.hooks.repeatable import seed_everything
from lowres_d2.engine.startup.objects import MATCHED, as_the_model_gets_them
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.checkpoint_keys import beside_backbone
from lowres_d2.modeling.tiles import untiled
from lowres_d2.modeling.weights import read_checkpoint
from lowres_d2.recipes.load import build

from detectron2.config import instantiate
from detectron2.structures import BoxMode
from detectron2.utils.registry import locate
from omegaconf import DictConfig, OmegaConf
from torch import nn

NO_DATA = Check(
    "data-unreadable",
    "error",
    "parts of the data that cannot be read",
    "correct what each line names",
)
NO_MODEL = Check(
    "model-unknown",
    "warning",
    "models that the data could not be checked against",
    "correct what the line names; where the model follows the data, correct the data first",
)
POOR_COVER = Check(
    "match-poor",
    "warning",
    "size ranges of which under half can be matched to an anchor, point or query",
    "objects without a match are not learned, or only through allow_low_quality_matches",
)

TINY_OBJECTS = Check(
    "objects-tiny",
    "warning",
    f"size ranges whose objects the detector sees at a median of under {TINY:g} pixels",
    "give it more pixels: larger images (the mappers' augmentations), a smaller "
    "model.resampler.factor, or crops; objects that small can hardly be recognized",
)

_CAPS = ("max_detections_per_image", "test_topk_per_image", "test_topk", "num_queries")


def recipe_splits(cfg: DictConfig, findings: Findings) -> list[Split]:
    """Train and test data of a recipe, read as they are in their files."""
    splits = [_split(cfg, key, findings) for key in ("train", "test")]
    return [split for split in splits if split is not None]


def _split(cfg: DictConfig, key: str, findings: Findings) -> Split | None:
    loader = cfg.dataloader[key]
    settings: dict[str, Any] = {
        "skips_images": loader.mapper.get("on_broken") == "skip",
        "trusts_area": key == "test" and cfg.dataloader.evaluator.get("area") == "annotation",
    }
    try:
        settings["reader"] = reader_of(loader.mapper)
        spec = OmegaConf.to_container(loader.dataset, resolve=True)
        target = spec.pop("_target_")
        target = locate(target) if isinstance(target, str) else target
        if target in (CocoDataset, VocDataset, own_dataset):
            settings["skips_boxes"] = spec.get("invalid_boxes") == "skip"
            settings["classes"] = spec.get("classes")
        by_folder = target is own_dataset and spec.get("path") and not spec.get("json_file")
        if by_folder and spec.get("held_out") is None:
            folder = recognise(spec["path"], spec.get("format"))
            name = chosen_split(folder, spec.get("split"), spec.get("evaluated", False), None)
            return read_folder_split(folder, name, findings, key, **settings)
        if target is own_dataset and spec.get("json_file") and not spec.get("path"):
            target = CocoDataset
        if target is CocoDataset and not spec.get("ignored_classes"):
            images = spec.get("image_root")
            return read_split(spec["json_file"], findings, key, images, **settings)
        if target is VocDataset:
            return _voc_split(spec, key, findings, settings)
        dataset = build(cfg, f"dataloader.{key}.dataset")
        # Which boxes are ignore regions, the data set knows.
        if isinstance(dataset, CocoDataset) and not dataset.ignored_classes:
            images = dataset.image_root
            return read_split(dataset.json_file, findings, key, images, **settings)
        if not isinstance(dataset, BoxDataset):
            raise ValueError(f"dataloader.{key}.dataset: {type(dataset).__name__} has no boxes")
        return split_of_dataset(dataset, key, **settings)
    except (ValueError, OSError) as error:
        findings.add(NO_DATA, key, str(error))
        return None


def _voc_split(spec: dict, key: str, findings: Findings, settings: dict) -> Split | None:
    """All years of a :class:`VocDataset`."""
    years = spec.get("year", 2007)
    given, settings["classes"] = settings["classes"], settings["classes"] or VOC_CLASSES
    parts = []
    for year in [years] if isinstance(years, int) else years:
        folder = Path(spec["root"], f"VOC{year}")
        source = folder / "ImageSets" / "Main" / f"{spec.get('split', 'trainval')}.txt"
        parts.append(read_split(source, findings, key, folder / "JPEGImages", **settings))
    if not all(parts):
        return None
    split = join_splits(parts)
    used = {split.name_of[entry["category_id"]] for entry in split.annotations}
    chosen_classes(Path(spec["root"]), used, given, bool(spec.get("may_lack_classes")))
    return split


def model_facts(cfg: DictConfig, findings: Findings) -> tuple[ModelFacts, nn.Module | None]:
    """What the data has to fit, and the model with random weights, if it can be built."""
    try:
        seed_everything(cfg.train.seed, 0)
        follow_channels(cfg)
        model = untiled(build(cfg, "model"))
        check_channels(cfg, model)
    except Exception as error:  # a model can follow the data, and fails as they do
        findings.add(NO_MODEL, "model", " ".join(str(error).split()))
        return ModelFacts(max_dets=cfg.dataloader.evaluator.get("max_dets")), None
    parts = {"model": model}
    if isinstance(model, LowResDetector) and model.teacher is not None:
        parts["model.teacher.model"] = model.teacher.model
    named = [
        (".".join(part for part in (root, name) if part), module)
        for root, network in parts.items()
        for name, module in network.named_modules()
    ]
    classes = {
        f"{name}.num_classes": module.num_classes
        for name, module in named
        if isinstance(getattr(module, "num_classes", None), int)
    }
    caps = {
        f"{name}.{key}": getattr(module, key)
        for name, module in named
        for key in _CAPS
        if isinstance(getattr(module, key, None), int)
        and getattr(module, key) >= 0  # less is no cap
        and not name.startswith("model.teacher")
    }
    max_dets = cfg.dataloader.evaluator.get("max_dets")
    return ModelFacts(classes, _trained_classes(cfg, model, findings), max_dets, caps), model


def _trained_classes(cfg: DictConfig, model: nn.Module, findings: Findings) -> list[str]:
    """Class names in the weights that the recipe starts from, where they are a file here."""
    path = cfg.train.init_checkpoint
    if not path or not Path(path).is_file():
        return []
    try:
        contents = read_checkpoint(path)
        # Those of a classifier say nothing of a detector that takes its backbone.
        return [] if beside_backbone(contents["model"], model) else contents.get("classes", [])
    except ValueError as error:
        findings.add(NO_MODEL, "model", str(error))
        return []


def check_cover(
    cfg: DictConfig, model: nn.Module, split: Split, size_ranges: object, findings: Findings
) -> str:
    """Which share of a split's objects the model can match, at the resolution it trains at.

    Args:
        cfg: the recipe, whose training mapper resizes.
        model: built.
        split: the training data.
        size_ranges: size ranges, in pixels of the original images.
        findings: takes size ranges of which too few can be matched.

    Returns:
        A line for the report.
    """
    spec = SizeRanges.from_config(size_ranges)
    augmentations = instantiate(cfg.dataloader.train.mapper.get("augmentations", []))
    found = match_shares(model, as_the_model_gets_them(_sample(split), augmentations), spec)
    for row in found.tiny():
        detail = f"{spec.label(row.name)}: seen at a median of {row.seen_size:.1f} px"
        findings.add(TINY_OBJECTS, split.name, detail)
    if not found.known:
        return f"it is not known which objects {type(model).__name__} can match"
    for row in found.poor():
        findings.add(
            POOR_COVER,
            split.name,
            f"{spec.label(row.name)}: {row.share:.0%} of {row.objects}, seen at a median of "
            f"{row.seen_size:.1f} px; would help: {found.remedy}",
        )
    shares = [
        f"{spec.label(row.name)} {row.share:.0%}" if row.objects else f"{row.name} no objects"
        for row in found.size_ranges
    ]
    return f"matched by the model ({found.images} images of {split.name}): {', '.join(shares)}"


def _sample(split: Split) -> list[dict]:
    """Dataset dicts of some images that have objects, as far as sizes are concerned."""
    of_image = defaultdict(list)
    for entry in split.objects:
        of_image[entry["image_id"]].append(entry | {"bbox_mode": BoxMode.XYWH_ABS})
    image_ids = random.Random(0).sample(sorted(of_image), min(MATCHED, len(of_image)))
    return [split.image_of[key] | {"annotations": of_image[key]} for key in image_ids]
