"""Shipped recipes with narrow networks, and toy inputs for them."""

from copy import deepcopy
from functools import cache

from lowres_d2.modeling.backbone import HRNet, bottom_heavy
from lowres_d2.modeling.meta_arch import ImageClassifier, SuperResolver
from lowres_d2.recipes.find import shipped_recipes
from lowres_d2.recipes.load import load_recipe
from lowres_d2.recipes.tiles import TARGET

import torch
from detectron2.config import LazyCall as L
from detectron2.modeling.backbone.resnet import BasicBlock, ResNet
from detectron2.structures import Boxes, Instances
from omegaconf import DictConfig, ListConfig

RECIPES = sorted(map(str, shipped_recipes()))
PROJECTS = [name for name in RECIPES if name.startswith("projects")]
CLASSES = 3
NARROW = {256: 32, 512: 32, 1024: 32, 2048: 48, 4096: 32}  # channels
RES2 = 16  # channels of a narrow ResNet's first stage


@cache
def _as_shipped(name):
    return load_recipe(name)


def load_shipped(name):
    """A copy of a shipped recipe; reading one takes twenty times as long."""
    cfg = deepcopy(_as_shipped(name))
    if cfg.model._target_ == TARGET:  # whose detector is what there is to test
        cfg.model = cfg.model.detector
    return cfg


def load_toy(name):
    cfg = load_shipped(name)
    for network in networks(cfg):
        if not is_super_resolver(network):
            (network if "num_classes" in network else network.roi_heads).num_classes = CLASSES
    return cfg


def is_super_resolver(network):
    return network._target_ is SuperResolver


def networks(cfg):
    """The detector, and the teacher where it has a configuration of its own."""
    teacher = cfg.model.get("teacher")
    apart = [] if not teacher or teacher._get_node("model")._is_interpolation() else [teacher.model]
    # One that is converted to 1 bit stands in the call that converts it.
    return [network.get("detector", network) for network in (cfg.model.detector, *apart)]


def super_resolution(network):
    return network.get("roi_heads", {}).get("super_resolution")


def narrow(network, factor=1):
    """The same parts at a hundredth of the cost, for images downsampled by the factor."""
    if is_super_resolver(network):
        narrow_super_resolver(network)
        return
    resnet = network.backbone.get("bottom_up", network.backbone)
    if resnet._target_ is bottom_heavy:
        resnet.blocks = [2, 2, 1, 1]
        resnet = resnet.backbone
    # Stages that are given one by one are those of a small network.
    if "stem" in resnet and not isinstance(resnet.stages, ListConfig):
        resnet.stages = L(narrow_stages)(
            first=resnet.stem.out_channels,
            block_class=resnet.stages.get("block_class", BasicBlock),
        )
        finer = super_resolution(network)
        if finer:
            # Between the two objects of each toy image; both can be targets, one at any ratio.
            finer.max_area, finer.min_target_area = (40 // factor) ** 2, (32 // factor) ** 2
            if finer.sub_in_features == ["res2"]:
                finer.generator.sub_channels = RES2
    elif "width" in resnet:
        resnet.width = 8
        if issubclass(resnet._target_, HRNet):
            resnet.stages = [[1, 1]] * 3
    elif "width_mult" in resnet:
        narrow_mobilenet(network)
    for key in ("encoder_layers", "decoder_layers"):
        if key in network:
            network[key] = 2
    if "MobileNetV1" in str(resnet._target_):
        small_mobilenetv1(network)  # it has one width
    else:
        _replace_widths(network)
        top = network.backbone.get("top_block") or {}
        if top.get("in_feature") == "res5":
            top.in_channels = NARROW[2048]  # of any ResNet


def narrow_super_resolver(network):
    network.network.width, network.network.depth = 4, 3
    if network.discriminator:
        network.discriminator.width, network.discriminator.hidden = 2, 4
    if network.content:
        narrow(network.content.classifier)


def narrow_mobilenet(network):
    res2, res4, res5 = 8, 24, 80
    heads = network.roi_heads
    network.backbone.width_mult = heads.res5.width_mult = 0.25
    network.proposal_generator.head.in_channels = res4
    network.proposal_generator.post_nms_topk = [100, 100]  # its blocks are wide inside
    heads.box_predictor.input_shape.channels = res5
    finer = super_resolution(network)
    if finer:
        finer.generator.base_channels, finer.generator.sub_channels = res4, res2


def small_mobilenetv1(network):
    """Few cells and regions."""
    network.proposal_generator.post_nms_topk = [50, 50]
    network.roi_heads.batch_size_per_image = 32
    network.roi_heads.pooler.output_size = 4
    finer = super_resolution(network)
    if finer:
        # Between the two objects of each toy image, as above.
        finer.max_area, finer.min_target_area = 40**2, 32**2
        finer.sub_pooler.output_size = 4
        finer.generator.bottleneck_channels = 8


def narrow_stages(first, block_class):
    channels = (first, RES2, 24, NARROW[1024], NARROW[2048])
    return [
        ResNet.make_stage(
            block_class, 1, in_channels=a, out_channels=b, stride_per_block=[s], norm="FrozenBN"
        )
        for a, b, s in zip(channels, channels[1:], (1, 2, 2, 2), strict=False)
    ]


def narrow_objectives(cfg):
    """Objectives with layers of their own, for narrow networks."""
    for objective in cfg.model.get("objectives") or ():
        if "decoder" in objective:
            _replace_widths(objective.decoder)


def _replace_widths(node):
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if child._is_interpolation() or child._is_none():
            continue
        if isinstance(child, DictConfig | ListConfig):
            _replace_widths(child)
        elif child._value() in NARROW and not str(key).endswith("_area"):
            node[key] = NARROW[child._value()]


def toy_inputs(model):
    """Two images as the model's task has them."""
    if isinstance(model.detector, ImageClassifier | SuperResolver):
        generator = torch.Generator().manual_seed(0)
        shape = (3, 32, 32)
        return [
            {"image": torch.randint(0, 256, shape, generator=generator).byte(), "label": label}
            for label in (0, CLASSES - 1)
        ]
    return toy_images()


def toy_images():
    generator = torch.Generator().manual_seed(0)
    batch = []
    for height, width in ((96, 128), (101, 90)):
        target = Instances((height, width))
        target.gt_boxes = Boxes(torch.tensor([[10.0, 12.0, 60.0, 50.0], [40.0, 40.0, 70.0, 85.0]]))
        target.gt_classes = torch.tensor([0, CLASSES - 1])
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        batch.append({"image": image, "instances": target, "height": height, "width": width})
    return batch
