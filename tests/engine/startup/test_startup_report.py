import hashlib
import logging
import math
import re

from lowres_d2.analysis.matching.match_report import SizeRangeShare
from lowres_d2.data import DetectionMapper
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.data.stream import seeded
from lowres_d2.engine.build import build_datasets, build_model
from lowres_d2.engine.hooks.mixed_precision import training_precision
from lowres_d2.engine.stages import with_lengths
from lowres_d2.engine.startup.objects import (
    as_the_model_gets_them,
    count_objects,
    finer_ranges_note,
)
from lowres_d2.engine.startup.report import StartUp, _matched, log_start_up, start_up_report
from lowres_d2.engine.startup.schedule import describe_rate, rate_warning
from lowres_d2.engine.startup.weights import check_complete, check_used, describe_weights
from lowres_d2.evaluation.size_ranges import SizeRanges
from lowres_d2.modeling.roi_heads import SuperResolution
from lowres_d2.modeling.weights import LoadReport
from lowres_d2.programs.train import main
from lowres_d2.recipes.find import shipped_recipes
from lowres_d2.recipes.load import build, load_recipe

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from omegaconf import OmegaConf

from toys.data import ToyData
from toys.labelled import write_cifar
from toys.runs import PLAIN, STAGED

QUICK = sorted(str(path) for path in shipped_recipes() if "configs/quick" in path.as_posix())
DETECTORS = [name for name in QUICK if re.search("fcos|faster_rcnn|detr|retinanet", name)]
OTHERS = sorted(
    {*QUICK} - {*DETECTORS}
)  # classifiers and super-resolution, whose images have labels


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    return tmp_path_factory.mktemp("plates")


def started(cfg, split="train", weights=None):
    build_datasets(cfg)
    stages = with_lengths(build(cfg, "train.stages"), cfg.train.max_iter)
    evaluator = build(cfg, "dataloader.evaluator")
    return StartUp(cfg, build_model(cfg), evaluator, split, weights, stages=stages)


@pytest.mark.parametrize("name", DETECTORS)
def test_every_quick_detector_reports(name, plates):
    toy = [f"dataloader.{split}.dataset.num_images=4" for split in ("train", "test")]
    cfg = load_recipe(name, [*toy, f"dataloader.train.dataset.root={plates}", "train.device=cpu"])
    if cfg.model.get("teacher"):
        cfg.model.teacher.checkpoint = None
    run = started(cfg)
    text = start_up_report(run)
    rows = {line[2:13].strip(): line[13:] for line in text.splitlines() if line[2:13].strip()}
    assert {"runs on", "weights", "classes", "objects", "evaluation", "iterations"} <= rows.keys()
    mixed = training_precision(run.cfg, run.model)  # where the recipe asks and this machine can
    precision = "mixed precision (bfloat16)" if mixed else "float32"
    assert f"Detectron2, cpu, {precision}" in rows["runs on"]
    assert ", 1 process;" in rows["runs on"]
    assert "data 8, model 8" in rows["classes"]
    assert "4 images" in rows["objects"] and "maxDets 100" in rows["evaluation"]
    assert len(re.findall(r"% of \d", text)) == len(run.evaluator.size_ranges.names)
    resolves = any(isinstance(module, SuperResolution) for module in run.model.modules())
    assert ("super-resolution: " in text) == resolves
    assert len(text.splitlines()) < 27


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("cifar"))


@pytest.mark.parametrize("name", OTHERS)
def test_every_quick_recipe_of_labelled_images_reports(name, cifar, plates):
    generated = "plates" in name
    numbers = [f"dataloader.{split}.dataset.num_images=20" for split in ("train", "test")]
    root = [f"dataloader.train.dataset.root={plates if generated else cifar}"]
    cfg = load_recipe(name, [*root, *(numbers if generated else []), "train.device=cpu"])
    if cfg.model.get("teacher"):
        cfg.model.teacher.checkpoint = None
    text = start_up_report(started(cfg))
    rows = {line[2:13].strip(): line[13:] for line in text.splitlines() if line[2:13].strip()}
    number = 8 if generated else 10
    model = "" if "super_resolution" in name else f", model {number}"
    teacher = f", teacher {number}" if cfg.model.get("teacher") else ""
    assert rows["classes"].startswith(f"data {number}{model}{teacher}: ")
    train = "20, 1 to" if generated else "100, 10 of each class"
    assert rows["images"].startswith(f"train: {train}") and rows["images"].endswith(", 32x32")
    assert rows["evaluation"] == "20 images" and {"weights", "iterations"} <= rows.keys()
    assert "objects" not in rows and "boxes" not in text


def test_report_has_teacher_and_stages(coco_json):
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    run = started(load_recipe(STAGED, [*data, "train.device=cpu"]))
    text = start_up_report(run)
    assert "teacher: as built" in text and "teacher 2: red, green" in text
    neck = "neck 4 iterations (trainable: detector.backbone.bottom_up.*; losses: feature)"
    assert f"{neck}; all 2 iterations" in text


def test_warns_of_unmatched_size_ranges_small_caps_and_other_classes(coco_json, caplog):
    data = [f"data.{split}_json={coco_json}" for split in ("train", "val")]
    cfg = load_recipe("configs/own_data/bicubic4_fcos_small_own.py", [*data, "train.device=cpu"])
    cfg.model.resampler.factor = 8
    cfg.model.detector.max_detections_per_image = 0
    cfg.model.min_box_size = 20  # nothing is left
    weights = LoadReport("w.pth", 1, of_file=1, classes=["green", "red"])
    with caplog.at_level(logging.INFO):
        log_start_up(started(cfg, weights=weights))
    report, *warnings = [r.getMessage() for r in caplog.records if "startup" in r.name]
    assert "start-up report" in report and "0 % of " in report
    for split in ("train", "test"):
        assert f"{split}: {coco_json}, images in {coco_json.parent / 'images'}" in report
    order, shared, poor, cap = warnings
    assert "6 of 6 images of the test set are trained on as well" in shared
    assert "w.pth" in order and "(green, red; the data has red, green)" in order
    assert "only 0 % of the objects can be matched" in poor
    assert "model.resampler.factor (8 now)" in poor
    assert "model.min_box_size (20 now)" in poor
    assert "at most 0 detections" in cap and "max_detections_per_image to 2" in cap


def reported(json_file, *opts):
    data = [f"data.{split}_json={json_file}" for split in ("train", "val")]
    run = started(load_recipe(PLAIN, [*data, "train.device=cpu", *opts]))
    return start_up_report(run), run.warnings


def test_one_size_range_with_nearly_all_objects_is_said_with_finer_ones(coco_json):
    text, _ = reported(coco_json)
    assert "100 % of the objects are in one size range, small (<=32 px)" in text
    edges = re.search(r"size_ranges=(\[0,[\d,]+,null\])", text)[1]
    spread, _ = reported(coco_json, f"dataloader.evaluator.size_ranges={edges}")
    assert "in one size range" not in spread


def test_no_finer_ranges_are_proposed_for_objects_under_a_pixel():
    ranges = SizeRanges.from_config("coco")
    record = {"annotations": [{"bbox": [3, 3, 0.2, 0.1], "bbox_mode": BoxMode.XYWH_ABS}]}
    assert finer_ranges_note(count_objects([record], ranges), ranges) == ""


def test_objects_that_the_detector_sees_with_too_few_pixels_are_warned_of(coco_json):
    side = "dataloader.train.mapper.augmentations.0.short_edge_length="
    _, warnings = reported(coco_json, f"{side}64")
    assert not any("hardly be recognized" in warning for warning in warnings)
    text, warnings = reported(coco_json, f"{side}8")
    (warning,) = [w for w in warnings if "hardly be recognized" in w]
    assert re.search(r"small \(<=32 px\) at [23]\.\d px \(median\): under 4 px", warning)
    assert " px   100 % of 6" in text  # which alone would look fine


def test_objects_on_an_edge_are_explained(tmp_path):
    data = ToyData(tmp_path / "set")
    data.content["annotations"][0].update(bbox=[0, 0, 32, 32], area=1024)
    text, _ = reported(data.write())
    assert "objects exactly as large as an edge count in both size ranges" in text
    assert text.count("add up to 5 of 4 objects") == 1
    given = [f"data.{split}_json={data.json_file}" for split in ("train", "val")]
    evaluation = started(load_recipe(PLAIN, [*given, "train.device=cpu"]), "test")
    assert "add up" not in start_up_report(evaluation)  # its tables say it


@pytest.mark.parametrize(("rescued", "said"), [(0, False), (1, False), (3, True)])
def test_low_quality_matches_are_said_where_there_are_any(rescued, said):
    text = _matched(SizeRangeShare("x", objects=200, matched=200, rescued=rescued))
    assert text.startswith("100 % of 200") and ("2 % only by" in text) == said
    assert "0 % only" not in text


def test_crowds_are_on_the_first_screen(tmp_path):
    data = ToyData(tmp_path / "set")
    data.content["annotations"][0]["iscrowd"] = 1
    text, _ = reported(data.write())
    assert "4 images, 3 objects, 1 crowds (ignored), at most 1 on one image" in text


def loaded(used, unfit=(), ignored=()):
    names = [*unfit, *ignored]
    return LoadReport("w.pth", used, unexpected=names, of_file=used + len(names))


@pytest.mark.parametrize(
    ("report", "fits"),
    [
        (loaded(99, ["a.weight"]), True),
        (loaded(98, ["a.weight", "b.weight"]), False),
        (loaded(10, ignored=["stem.fc.weight", "stem.fc.bias", "fc1000_w"]), True),
        (loaded(10, ignored=["head.cls_score.bias", "objectives.kd.weight"]), True),
        (loaded(10, ["roi_heads.box_head.fc1.weight"]), False),
    ],
)
def test_share_of_a_file_that_has_to_be_loaded(report, fits):
    check_used(report, allow_partial=True)
    if fits:
        check_used(report)
    else:
        with pytest.raises(ValueError, match=r"w\.pth: \d of its \d+ .*--allow-partial"):
            check_used(report)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (["classifier.weight"], r"the backbone of this classifier is not the model's; build"),
        ([], "these weights belong to another model"),
    ],
)
def test_weights_that_fit_by_chance_are_not_advised_to_be_loaded_in_part(beside, words):
    found = [f"backbone.{k}" for k in range(77)]
    report = LoadReport("w.pth", 160, unexpected=found, of_file=95, beside_backbone=beside)
    with pytest.raises(ValueError, match=rf"w\.pth: 77 of its 95 tensors .*: {words}") as caught:
        check_used(report)
    assert "--allow-partial" not in str(caught.value) and "\n" not in str(caught.value)


def test_weights_are_described():
    report = LoadReport(
        "w.pth",
        total=9,
        missing=["resampler.a", "resampler.b", "detector.neck.c"],
        misshapen=["detector.head.cls_score.weight"],
        unexpected=["old.d"],
        of_file=7,
    )
    assert describe_weights(report) == (
        "5 of 9 tensors loaded from w.pth; left as initialized: 4 (resampler.a 1, resampler.b 1, "
        "neck.c 1, head.cls_score 1); of the file ignored on purpose: 1; of the file UNUSED: 1 "
        "(old.d 1)"
    )
    with pytest.raises(ValueError, match="5 of 9"):
        check_complete(report)


def test_report_identifies_the_weight_file(toy_arguments, tmp_path, capsys):
    main([*toy_arguments, "train.max_iter=2"])
    weights = tmp_path / "run" / "model_final.pth"
    capsys.readouterr()
    main(["--eval-only", *toy_arguments, f"train.init_checkpoint={weights}"])
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    expected = f"95 of 95 tensors loaded from {weights} (after 2 iterations, sha256 {digest[:8]})"
    assert expected in capsys.readouterr().out


def scheduled(batch, rate, optimizer):
    return OmegaConf.create(
        {
            "dataloader": {"train": {"dataset": [0] * 100, "total_batch_size": batch}},
            "optimizer": L(optimizer)(lr=rate),
            "train": {"max_iter": 50},
        },
        flags={"allow_objects": True},
    )


@pytest.mark.parametrize(
    ("optimizer", "rule", "rate"),
    [
        (torch.optim.SGD, "the linear scaling rule", 0.004),
        (torch.optim.AdamW, "the square-root scaling rule", 0.008),
    ],
)
def test_learning_rate_by_the_scaling_rule_for_a_quarter_of_the_batch(optimizer, rule, rate):
    own, run = scheduled(16, 0.016, optimizer), scheduled(4, 0.016, optimizer)
    text = describe_rate(run, own)
    name = optimizer.__name__
    assert text.startswith(f"50, batch size 4 (2.0 epochs), {name} with learning rate 0.016")
    assert f"0.016 is for batch size 16: for 4 {rule} gives {rate}, and 200 iterations" in text
    assert f"set optimizer.lr={rate}" in rate_warning(run, own)
    assert rate_warning(scheduled(4, rate, optimizer), own) == ""
    for unchanged in (None, run):
        assert rate_warning(run, unchanged) == "" and "rule" not in describe_rate(run, unchanged)


def test_epochs_are_of_the_images_that_the_loader_gives():
    """Images without objects are left out, and those of a rare class repeated."""
    run = scheduled(4, 0.016, torch.optim.SGD)
    objects = [[0]] * 75 + [[0, 1]] * 5 + [[]] * 20  # class 1 is in a sixteenth of 80
    run.dataloader.train.dataset = [
        {"annotations": [{"category_id": c, "iscrowd": 0} for c in found]} for found in objects
    ]
    run.dataloader.train.filter_empty = True
    assert "(2.5 epochs)" in describe_rate(run, None)
    run.dataloader.train.repeat_threshold = 1.0  # each of the five comes sqrt(16) times
    assert "(2.1 epochs)" in describe_rate(run, None)  # 200 of 75 + 4 * 5 images


def test_boxes_are_where_the_mapper_puts_them(coco_json):
    dataset = CocoDataset(coco_json)
    steps = [
        T.RandomFlip(),
        T.RandomApply(T.RandomCrop("absolute_range", (40, 60)), prob=0.5),
        T.ResizeShortestEdge([50, 90], 100, "choice"),
        T.RandomBrightness(0.5, 1.5),
    ]
    mapper = DetectionMapper(True, steps)
    found = list(as_the_model_gets_them(dataset, steps))
    assert len({image.size for image in found}) > 1
    for position, image in enumerate(found):
        with seeded(0, position):
            mapped = mapper(dataset[position])["instances"]
        assert image.size == mapped.image_size
        assert torch.equal(image.boxes, mapped.gt_boxes.tensor)


def test_large_data_sets_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr("lowres_d2.engine.startup.objects.COUNTED", 10)
    records = [
        {
            "height": 99,
            "width": 99,
            "annotations": [
                {"bbox": [0, 0, size, size], "bbox_mode": 1, "area": 1.0, "iscrowd": crowd}
                for size, crowd in ((8, 0), (40, 0), (90, 1))[: k % 4]
            ],
        }
        for k in range(100)
    ]
    counts = count_objects(records, SizeRanges.from_config([0, 32, None]))
    assert (counts.images, counts.counted, counts.densest) == (100, 10, 2)
    # Images 0, 10, ... have 0 and 2 objects in turn.
    assert (counts.objects, counts.by_size_range, len(counts.sample)) == (10, [5, 5], 5)
    by_area = count_objects(records, SizeRanges.from_config([0, 32, None]), by_box=False)
    assert by_area.by_size_range == [10, 0]
    assert count_objects([{"label": 1}], SizeRanges.from_config("coco")) is None


def test_checkpoint_that_fits_in_part(toy_arguments, tmp_path, capsys):
    cfg = load_recipe(toy_arguments[1], toy_arguments[2:])
    weights = build_model(cfg).state_dict()
    renamed = [n for n in weights if "bottom_up" in n][: math.ceil(0.02 * len(weights))]
    torch.save(
        {"model": {f"old.{n}" if n in renamed else n: v for n, v in weights.items()}},
        tmp_path / "part.pth",
    )
    arguments = [*toy_arguments, f"train.init_checkpoint={tmp_path / 'part.pth'}"]
    with pytest.raises(SystemExit):
        main(arguments)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "part.pth" in errors[0] and "--allow-partial" in errors[0]
    main(["--allow-partial", *arguments, "train.max_iter=1"])
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "start-up report" in log and f"UNUSED: {len(renamed)}" in log
    assert "the recipe's learning rate 0.012 is for batch size 8" in log


@pytest.mark.parametrize(
    ("rescued", "shown"),
    [(0, "100 % of 300"), (1, "100 % of 300"), (30, "100 % of 300 (10 % only by allow_low_")],
)
def test_no_share_of_0_percent_is_printed(rescued, shown):
    text = _matched(SizeRangeShare("small", objects=300, matched=300, rescued=rescued))
    assert text.startswith(shown) and ("only by" in text) == ("only by" in shown)
