"""The projects' recipes, resumed from a checkpoint, give the bits of an uninterrupted run.

Recipes run with narrow networks on toy images, through the real run with its hooks: as many of them
as it takes for every part of every recipe to be in one that runs.
"""

import contextlib
import json
import shutil
import signal
from pathlib import Path

from lowres_d2.data.classification import Cifar10, ClassFolderFiles, ClassificationMapper
from lowres_d2.data.datasets import CocoDataset
from lowres_d2.engine import train as engine
from lowres_d2.engine.hooks.repeatable import as_in_a_new_process
from lowres_d2.evaluation import SizedCOCOEvaluator

import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.engine import HookBase
from omegaconf import OmegaConf

from toys.data import write_coco
from toys.labelled import write_cifar
from toys.narrow import (
    CLASSES,
    PROJECTS,
    is_super_resolver,
    load_shipped,
    load_toy,
    narrow,
    narrow_objectives,
    networks,
)

SIDES = [64, 72, 80]
STAGE = 2  # iterations of each stage
# What has weights, buffers, draws or a place in a schedule: at least these have to be resumed.
STATEFUL = """
    LowResDetector AnyFactorDetector SuperResolvedRCNN
    GeneralizedRCNN RetinaNet FCOS NearestPointFCOS DeformableDETR
    ResNet SmallResNet MobileNetV1 MobileNetV2 FPN LastLevelP6P7 LastLevelP6 RPN
    binarized PReLUStem SmallShortcutResNet
    WeightReconstruction ForegroundRefinement ImageDecoder
    Res5ROIHeads StandardROIHeads CascadeROIHeads
    SuperResolvedRes5ROIHeads SuperResolvedStandardROIHeads SuperResolvedCascadeROIHeads
    SRGenerator SRDiscriminator
    ImageClassifier CifarAlexNet CifarVGG16 CifarResNet18
    SuperResolver ESPCN VDSR SRResNet ImageDiscriminator FeatureContent
    Identity Bicubic LearnedDownsampler AnyFactor DownUp SuperResolved
    Teacher MomentMatching FeatureDistillation DenseLogitDistillation
    ProposalLogitDistillation QueryLogitDistillation SetCriterion
    SGD AdamW ConstantParamScheduler CosineParamScheduler MultiStepParamScheduler
    Stage NoDeadChannels
"""
MAIN = "lowres_d2.programs.train:main"
FOLDERS = "class_folders"


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Annotations of four images and of toy recipes' classes; beside them CIFAR-10 and folders."""
    path = write_coco(tmp_path_factory.mktemp("toy"), 4)
    truth = json.loads(path.read_text())
    truth["categories"] = [{"id": k + 3, "name": f"class {k}"} for k in range(CLASSES)]
    path.write_text(json.dumps(truth))
    write_cifar(path.parent)
    for number, image in enumerate(sorted(path.parent.glob("images/*.png"))):
        folder = path.parent / FOLDERS / f"class_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
    return path


def parts(node):
    """The parts of a recipe: callables and switches, without numbers."""
    if isinstance(node, dict):
        target = node.get("_target_")
        yield str(getattr(target, "__qualname__", target))
        for key, value in node.items():
            if isinstance(value, bool):
                yield f"{key}={value}"
            yield from parts(value)
    elif isinstance(node, list):
        for value in node:
            yield from parts(value)


def parts_of_recipes():
    """The parts of each of the projects' recipes, and its number of stages."""
    kinds = {}
    for name in PROJECTS:
        cfg = load_shipped(name)
        described = [OmegaConf.to_container(cfg[key]) for key in ("model", "optimizer", "train")]
        kinds[name] = {*parts(described), f"{len(cfg.train.stages)} stages"}
    return kinds


def recipes_of_all_parts(kinds):
    """Few recipes that have each part of all: next is always the one that adds most of them."""
    missing = set().union(*kinds.values())
    while missing:
        name = max(kinds, key=lambda name: len(kinds[name] & missing))
        missing -= kinds[name]
        yield name


def make_toy(cfg, images, folder):
    """Narrow networks, toy images with the recipe's augmentations, short stages."""
    for network in networks(cfg):
        narrow(network)
    narrow_objectives(cfg)
    if cfg.model.get("teacher"):
        cfg.model.teacher.checkpoint = None
    loaders = cfg.dataloader
    if "mapper" not in loaders.train:
        of_labels(cfg, images)
    elif loaders.train.mapper._target_ is ClassificationMapper:
        of_label_files(cfg, images)
    else:
        of_boxes(cfg, images)
    loaders.train.total_batch_size = 2
    for stage in cfg.train.stages:
        stage.iterations = STAGE
    train = cfg.train
    train.max_iter = STAGE * max(len(train.stages), 2)
    train.device, train.output_dir, train.init_checkpoint = "cpu", str(folder), ""
    train.teacher_check.images, train.eval_period = 0, 0
    train.checkpointer = dict(period=1, max_to_keep=9)
    cfg.optimizer.lr = 1e-4
    return cfg


def of_boxes(cfg, images):
    loaders = cfg.dataloader
    for split in (loaders.train, loaders.test):
        split.dataset = L(CocoDataset)(json_file=str(images))
        split.num_workers = 0
        for augmentation in split.mapper.augmentations:
            if "short_edge_length" in augmentation:
                augmentation.short_edge_length, augmentation.sample_style = SIDES, "choice"
                augmentation.max_size = 100
    loaders.evaluator = L(SizedCOCOEvaluator)(dataset="${..test.dataset}")
    cfg.train.best.val_metric = "bbox/AP"  # the toy evaluator has no F1


def of_label_files(cfg, images):
    for name in ("train", "test"):
        split = cfg.dataloader[name]
        split.dataset = L(ClassFolderFiles)(root=str(images.parent / FOLDERS))
        split.mapper.size, split.num_workers = 32, 0
    for network in networks(cfg):
        network.num_classes = 2


def of_labels(cfg, images):
    for name in ("train", "test"):
        cfg.dataloader[name].dataset = L(Cifar10)(root=str(images.parent), split=name)
    for network in networks(cfg):
        if not is_super_resolver(network):
            network.num_classes = 10
    for frozen in (cfg.model.resampler, cfg.model.detector.get("content") or {}):
        if "checkpoint" in frozen:
            frozen.checkpoint = None  # random weights


class Stopped(BaseException):
    """Ends a run as a kill does."""


class StopBefore(HookBase):
    def __init__(self, iteration):
        self.iteration = iteration

    def after_step(self):
        if self.trainer.iter + 1 == self.iteration:
            raise Stopped


def run(cfg, resume=False, end=None):
    made = engine._Run(cfg.copy())
    start = made.load(resume)
    made.trainer.register_hooks([StopBefore(end)])  # last: the checkpoint is written before
    with as_in_a_new_process(), contextlib.suppress(Stopped):
        made.trainer.train(start, cfg.train.max_iter)
    return start


def differences(a, b, where=""):
    """Places where two nested contents of checkpoints are not the same bits."""
    if isinstance(a, torch.Tensor):
        if not torch.equal(a, b):
            yield where
    elif isinstance(a, dict):
        if a.keys() != b.keys():
            yield f"{where}: {sorted(map(str, a.keys() ^ b.keys()))}"
        else:
            for key in a:
                yield from differences(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield where
        for number, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from differences(x, y, f"{where}.{number}")
    elif a != b:
        yield f"{where}: {a} and {b}"


def read(folder, name):
    return torch.load(folder / f"{name}.pth", weights_only=True)


@pytest.mark.slow
def test_every_part_of_the_projects_recipes_resumes_to_the_same_bits(images, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "evaluate", lambda *_, **__: {})
    monkeypatch.setattr(engine, "DetectionImages", lambda *_: None)
    wrong, resumed = {}, set()
    kinds = parts_of_recipes()
    for number, name in enumerate(recipes_of_all_parts(kinds)):
        folder = tmp_path / str(number)
        folder.mkdir()
        cfg = make_toy(load_toy(name), images, folder)
        run(cfg)
        whole = read(folder, "model_final")
        before = read(folder, "model_0000000")
        assert list(differences(before["model"], whole["model"])), f"{name} trains nothing"
        # Inside the first stage, over its end to where the other one goes on, inside the second.
        # Both together go the whole way: a checkpoint is all that the second one starts with.
        ways = {0: f"model_{STAGE:07d}", STAGE: "model_final"}
        for stop, last in ways.items() if cfg.train.stages else [(0, "model_final")]:
            end = STAGE + 1 if last != "model_final" else None
            expected = whole if end is None else read(folder, last)
            (folder / "last_checkpoint").write_text(f"model_{stop:07d}.pth")
            (folder / f"{last}.pth").unlink()
            assert run(cfg, resume=True, end=end) == stop + 1
            found = list(differences(expected, read(folder, last)))
            if found:
                wrong[f"{name} from {stop}"] = found[:3]
        resumed |= kinds[name]
    assert not wrong, wrong
    assert not set(STATEFUL.split()) - resumed


@pytest.mark.slow
def test_a_run_killed_after_ten_iterations_resumes_to_the_same_bits(ranks, tmp_path):
    """On the real command line, in real processes; a stage ends before the kill, one after it."""
    arguments = [
        "--config-file",
        "projects/ThumbDet/configs/quick/thumbdet4_fcos_small_64_plates.py",
        "model.teacher.checkpoint=null",
        f"dataloader.train.dataset.root={tmp_path / 'plates'}",
        "dataloader.train.dataset.num_images=12",
        "dataloader.test.dataset.num_images=2",
        "dataloader.train.total_batch_size=2",
        "dataloader.train.num_workers=1",
        "train.device=cpu",
        "train.teacher_check.images=0",
        "train.max_iter=20",
        "train.stages.0.iterations=5",
        "train.stages.2.iterations=8",
        "train.eval_period=0",
        "train.checkpointer.period=5",
    ]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    (end,) = ranks.run(MAIN, *arguments, f"train.output_dir={whole}", size=1)
    assert end.code == 0, end.text[-2000:]
    (end,) = ranks.run(MAIN, *arguments, f"train.output_dir={broken}", size=1, fails="0 10 killed")
    assert end.code == -signal.SIGKILL
    assert (broken / "last_checkpoint").read_text() == "model_0000009.pth"
    (end,) = ranks.run(MAIN, "--resume", *arguments, f"train.output_dir={broken}", size=1)
    assert end.code == 0 and "resumed at iteration 10" in end.text
    ends = read(whole, "model_final"), read(broken, "model_final")
    for end in ends:
        del end["recipe"]  # it names the folder
    assert not list(differences(*ends))
    for name in ("evaluation.json", "coco_instances_results.json"):
        assert Path(whole, name).read_text() == Path(broken, name).read_text()
