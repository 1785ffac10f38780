"""Every shipped recipe builds, trains an iteration on toy images, and survives dump and reload.

Recipes of projects do so with narrow networks, and go through every stage.
"""

import re
from contextlib import contextmanager
from fnmatch import fnmatchcase

from lowres_d2.engine.checkpoint import RunState
from lowres_d2.engine.stages import StageSchedule, with_lengths
from lowres_d2.engine.student_init import start_from_teacher
from lowres_d2.modeling.without_values import without_values
from lowres_d2.recipes.load import build

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.modeling.backbone.resnet import ResNet
from detectron2.utils.events import EventStorage
from detectron2.utils.registry import locate
from omegaconf import OmegaConf

from toys.narrow import (
    PROJECTS,
    RECIPES,
    is_super_resolver,
    load_shipped,
    load_toy,
    narrow,
    narrow_objectives,
    networks,
    super_resolution,
    toy_inputs,
)

# Data sets, and the side of their images in pixels if all are squares of one size.
SIDES = {
    "aitod": 800,
    "coco": None,
    "dota": 1024,
    "imagenet": 224,
    "plates": 256,
    "tiny": 256,
    "tinyperson": 640,  # of its tiles
    "tt100k": 2048,
    "voc": None,
}
# What they are read as.
KINDS = {"aitod": "coco", "dota": "coco", "imagenet": "classfolder", "tiny": "plates"}
IN_MEMORY = 32  # classification sets without a mapper
SIDES |= dict.fromkeys(("cifar10", "cifar100", "imagenet32", "svhn"), IN_MEMORY)


def step(model, optimizer, iteration=0):
    """One training iteration; the losses, and the names of the parameters that changed."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with EventStorage(iteration):
        losses = model(toy_inputs(model))
        sum(losses.values()).backward()
    optimizer.step()
    optimizer.zero_grad()
    assert all(torch.isfinite(value) for value in losses.values())
    return losses, {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def iterations_of_players(model, optimizer):
    """The iterations after the first one, until every player of every ratio was trained.

    The last one's losses, and the names of all parameters that changed.
    """
    rules, changed = model.detector.roi_heads.super_resolution, set()
    turns = [(ratio, player) for ratio in rules.ratios for player in ("discriminator", "generator")]
    for k, (ratio, player) in list(enumerate(turns))[1:]:
        losses, now = step(model, optimizer, k // 2 * rules.discriminator_period + k % 2)
        changed |= now
        if rules.is_taught:
            assert losses[f"loss_{player}"] > 0  # a region is supervised
            assert any(f"{player}s.{ratio}." in name for name in now)
    return losses, changed


def sample_few_regions(network):
    """What a head does on each of a thousand regions takes most of a two-stage detector's time."""
    if "roi_heads" in network:
        network.roi_heads.batch_size_per_image = 16
        network.proposal_generator.post_nms_topk = [100, 20]


def make_optimizer(cfg, model):
    cfg.optimizer.params.model = model
    optimizer = instantiate(cfg.optimizer)
    del cfg.optimizer.params["model"]
    return optimizer


@pytest.fixture
def one_block_a_stage(monkeypatch):
    """ResNets of full width, without the blocks of a stage that are like the one before them."""
    make_stage = ResNet.make_stage

    def make_first(block_class, num_blocks, *, stride_per_block, **settings):
        return make_stage(block_class, 1, stride_per_block=stride_per_block[:1], **settings)

    monkeypatch.setattr(ResNet, "make_stage", staticmethod(make_first))


@contextmanager
def without_draws():
    """Within it weights keep what their memory has held: those that are loaded need no values.

    The converter to 1 bit runs the network that it has made, which would judge that memory.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lowres_d2.modeling.one_bit.binarize._check_inputs", lambda detector: None)
        for name in ("normal_", "uniform_"):
            patch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor)
        yield


def check_save_and_reload(model, again, folder):
    torch.save(model.state_dict(), folder / "weights.pth")
    again.load_state_dict(torch.load(folder / "weights.pth", weights_only=True, mmap=True))
    with torch.no_grad():
        a, b = (m.eval()(toy_inputs(m))[0] for m in (model, again))
    tensors = {"scores", "super_resolved"} & a.keys()
    if tensors:
        assert all(torch.equal(a[key], b[key]) for key in tensors)
    else:
        a, b = a["instances"], b["instances"]
        assert torch.equal(a.pred_boxes.tensor, b.pred_boxes.tensor)
        assert torch.equal(a.scores, b.scores)


@pytest.mark.slow
@pytest.mark.usefixtures("one_block_a_stage")
@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(PROJECTS)))
def test_recipe_trains_an_iteration_and_its_weights_survive_save_and_reload(name, tmp_path):
    torch.manual_seed(0)  # of 1-bit layers this narrow some have inputs of one sign alone
    cfg = load_toy(name)
    for network in networks(cfg):
        sample_few_regions(network)
    if cfg.model.get("teacher"):
        cfg.model.teacher.checkpoint = None
    cfg.optimizer.lr = 1e-4  # of an iteration without warm-up
    model = instantiate(cfg.model)
    _, changed = step(model, make_optimizer(cfg, model))
    assert changed
    with without_draws():
        again = instantiate(cfg.model)
    check_save_and_reload(model, again, tmp_path)


@pytest.mark.parametrize("name", PROJECTS)
def test_narrow_recipe_goes_through_its_stages_and_is_saved_and_reloaded(name, tmp_path):
    torch.manual_seed(0)
    cfg = load_toy(name)
    for network in networks(cfg):
        narrow(network, cfg.model.resampler.get("factor", 1))
    narrow_objectives(cfg)
    if cfg.model.get("teacher"):
        assert cfg.model.teacher.checkpoint.endswith(".pth")
        cfg.model.teacher.checkpoint = None
    cfg.optimizer.lr = 1e-4
    cfg.optimizer.weight_decay = 0.0  # it changes parameters that no loss reaches
    model = instantiate(cfg.model).train()
    optimizer = make_optimizer(cfg, model)
    if cfg.train.student_from_teacher:
        start_from_teacher(model)
    stages = with_lengths(build(cfg, "train.stages"), cfg.train.max_iter)
    schedule = StageSchedule(model, stages, RunState(model, ""))
    for stage in stages:
        schedule.apply(stage)
        losses, changed = step(model, optimizer)
        assert changed
        if super_resolution(cfg.model.detector):
            losses, others = iterations_of_players(model, optimizer)
            changed |= others
        assert all(any(fnmatchcase(n, pattern) for pattern in stage.trainable) for n in changed)
        assert all(any(fnmatchcase(n, pattern) for n in changed) for pattern in stage.trainable)
        if stage.check:
            stage.check(model, toy_inputs(model))
    if not stages:
        losses, changed = step(model, optimizer)
    assert any(name.startswith("detector.") for name in changed)
    if not stages or "*" in stages[-1].losses:
        groups = {key.split("_")[1] for key in losses}
        assert groups >= set(model.objectives)
    check_save_and_reload(model, instantiate(cfg.model), tmp_path)


@pytest.mark.parametrize("name", PROJECTS)
def test_name_says_factor_resolution_and_data(name):
    kinds = "cascade|deformable|faster|fcos|retinanet|alexnet|vgg16|espcn|vdsr|srgan"
    kinds += "|resnet|resnet18|resnet50|hrnet32"
    data = "|".join(sorted(SIDES, key=len, reverse=True))
    said = re.search(rf"/[a-z_]+?(\d?)_(?:{kinds})_(?:.*_)?(\d+)_({data})", name)
    cfg = load_shipped(name)
    resampler = cfg.model.resampler
    factor = 1 if "resamplers" in resampler else int(resampler.get("factor", 1))
    # What super-resolution comes after; a network that is trained for it says its own factor.
    factor = named = resampler.get("low_factor", factor)
    if is_super_resolver(cfg.model.detector):
        factor, named = cfg.model.detector.low_factor, cfg.model.detector.network.factor
    assert said[1] == (str(named) if named > 1 else "")
    mapper = cfg.dataloader.test.get("mapper")
    resizing = mapper.augmentations if mapper else []
    side = resizing[0].short_edge_length if resizing else SIDES[said[3]] if mapper else IN_MEMORY
    assert int(said[2]) == side // factor
    kind = KINDS.get(said[3], said[3])
    assert kind in str(cfg.dataloader.test.dataset._target_).lower()


def targets(node):
    """What the calls of a recipe call, in the order of their keys."""
    if isinstance(node, dict):
        target = node.get("_target_")
        yield locate(target) if isinstance(target, str) else target
        node = [node[key] for key in sorted(node, key=str)]
    for part in node if isinstance(node, list) else ():
        yield from targets(part)


@pytest.mark.parametrize("name", RECIPES)
def test_dumped_recipe_reloads_to_the_same_model(name, tmp_path):
    cfg = load_toy(name)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    LazyConfig.save(cfg, str(first))
    again = LazyConfig.load(str(first))
    LazyConfig.save(again, str(second))
    assert first.read_text() == second.read_text()
    # Of equal text: the names in it stand for what the recipe calls, and the network is built.
    calls, found = ([*targets(OmegaConf.to_container(c, resolve=False))] for c in (cfg, again))
    assert calls == found and calls
    with without_values():
        assert instantiate(again.model).state_dict()
