"""Find faults in a data set for detection: a recipe's, or by its files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from lowres_d2.data.folders import recognise
from lowres_d2.data.image import MAX_PIXELS, ImageReader
from lowres_d2.data.validation import Findings, Report, Split, read_split, validate
from lowres_d2.data.validation.folders import MISSING_SPLIT, read_folder_split
from lowres_d2.data.validation.report import ModelFacts
from lowres_d2.data.validation.text import report_text
from lowres_d2.evaluation.shown import BOXES, task_of
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.own_files import check_own, own_path
from lowres_d2.programs.command_lines.validate import parse
from lowres_d2.programs.mistakes import run_reporting_mistakes
from lowres_d2.programs.validate_recipe import check_cover, model_facts, recipe_splits
from lowres_d2.progress import with_progress
from lowres_d2.recipes.load import load_recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; exits with 1 where an error was found."""
    run_reporting_mistakes(lambda: _run(parse(arguments)))


def _run(args: argparse.Namespace) -> None:
    check_own(filter(None, (args.json_report, args.sheet)))
    if args.config_file:
        report = _recipe_report(args)
    else:
        report = _folder_report(args) if args.path else _files_report(args)
    print(report_text(report, args.examples))
    if args.json_report:
        with own_path(args.json_report) as beside:
            beside.write_text(json.dumps(report.record(), indent=1), encoding="utf-8")
    if args.sheet:
        from lowres_d2.analysis.figures.suspects import write_suspects

        drawn = write_suspects(args.sheet, report)
        print(f"{drawn} suspects drawn: {args.sheet}" if drawn else "no suspects to draw")
    if not report.ok:
        raise SystemExit(1)


def _files_report(args: argparse.Namespace) -> Report:
    findings = Findings()
    folders = args.images or [None]
    folders = folders * len(args.annotations) if len(folders) == 1 else folders
    reader = ImageReader(max_pixels=args.max_pixels)
    splits = [
        read_split(source, findings, name, images, classes=args.classes, reader=reader)
        for source, name, images in zip(
            args.annotations, _names(args.annotations), folders, strict=True
        )
    ]
    return _report(args, [split for split in splits if split], findings, args.size_ranges or "coco")


def _folder_report(args: argparse.Namespace) -> Report:
    folder = recognise(args.path, args.format)
    findings = Findings()
    for name, reason in folder.missing.items():
        findings.add(MISSING_SPLIT, name, reason)
    reader = ImageReader(max_pixels=args.max_pixels)
    read = [
        read_folder_split(folder, name, findings, classes=args.classes, reader=reader)
        for name in folder.splits
    ]
    splits = [split for split in read if split]
    counts = [
        f"{split.name} {len(split.images):,} images, {len(split.objects):,} objects"
        for split in splits
    ]
    classes = f"{len(splits[0].class_list)} classes" if splits else "nothing that can be read"
    print(f"{folder}: {'; '.join([*counts, classes])}; {folder.described()}")
    return _report(args, splits, findings, args.size_ranges or "coco")


def _recipe_report(args: argparse.Namespace) -> Report:
    cfg = load_recipe(args.config_file, [*_given_data(args), *args.opts])
    if task_of(cfg) != BOXES.task:
        raise ValueError(
            f"{args.config_file}: its images have no boxes, which are what is validated; labels "
            "and images of a classifier are checked when they are read"
        )
    findings = Findings()
    splits = recipe_splits(cfg, findings)
    facts, model = model_facts(cfg, findings)
    size_ranges = args.size_ranges or cfg.dataloader.evaluator.get("size_ranges", "coco")
    report = _report(args, splits, findings, size_ranges, facts)
    if model is not None and splits:
        report.notes.append(check_cover(cfg, model, splits[0], size_ranges, findings))
    return report


def _given_data(args: argparse.Namespace) -> list[str]:
    """Overrides that give a recipe for own data the data of the flags."""
    if not (args.path or args.annotations):
        return []
    train, val = args.annotations or (None, None)
    images = args.images or [None]
    # All of them: a run's config.yaml has other values already.
    keys = {
        "path": args.path,
        "format": args.format,
        "train_json": train,
        "val_json": val,
        "train_images": images[0],
        "val_images": images[-1],
    }
    overrides = [f"data.{key}={'null' if x is None else x}" for key, x in keys.items()]
    if args.classes:
        overrides.append(f"data.classes=[{','.join(args.classes)}]")
    if args.max_pixels != MAX_PIXELS:
        splits = ("train", "test")
        overrides += [f"dataloader.{x}.mapper.max_pixels={args.max_pixels}" for x in splits]
    return overrides


def _report(
    args: argparse.Namespace,
    splits: list[Split],
    findings: Findings,
    size_ranges: object,
    facts: ModelFacts | None = None,
) -> Report:
    spec = SizeRanges.from_config(size_ranges)
    if args.no_images:
        for split in splits:
            split.root = None
    report = validate(
        splits,
        findings,
        {spec.label(name): pair for name, pair in zip(spec.names, spec.limits, strict=True)},
        facts,
        level="header" if args.no_decode else "full" if args.deep else "draft",
        workers=max(1, args.workers),
        progress=with_progress,
        limits=args.size_limits,
    )
    for split, summary in zip(splits, report.summaries, strict=True):
        note = spec.why_not_all(list(summary.size_ranges.values()), summary.objects)
        report.notes.extend([f"{split.name}: {note}"] if note else [])
    return report


def _names(sources: Sequence[str]) -> list[str]:
    """A short name for each source: as many of its last parts as make it unique."""
    for length in (1, 2, 3):
        names = ["/".join(Path(source).with_suffix("").parts[-length:]) for source in sources]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({k})" for k, name in enumerate(names, start=1)]
