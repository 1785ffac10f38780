"""Published models by the name of the config that they were trained with.

The models are those of ``configs/common/models`` of this project; what goes with them in upstream's
configs is in ``common.py``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from detectron2._uncovered import needs_upstream, uncovered
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.model_zoo.common import PIECES, training_of
from omegaconf import DictConfig
from torch import nn

get_config_file = uncovered("model_zoo.get_config_file")

# Within the package where it is installed, beside it in a checkout.
_PACKAGE = Path(__file__).resolve().parents[3]
_CONFIGS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
_DETECTOR = re.compile(r"COCO-Detection/(faster_rcnn|retinanet|fcos)_R_(50|101)_(C4|FPN)_([13])x")

_SITE = "https://dl.fbaipublicfiles.com/detectron2"
# folder: config, job number, first digits of the file's checksum
_WEIGHTS = {
    "COCO-Detection": """
        faster_rcnn_R_50_C4_1x 137257644 721ade
        faster_rcnn_R_50_DC5_1x 137847829 51d356
        faster_rcnn_R_50_FPN_1x 137257794 b275ba
        faster_rcnn_R_50_C4_3x 137849393 f97cb7
        faster_rcnn_R_50_DC5_3x 137849425 68d202
        faster_rcnn_R_50_FPN_3x 137849458 280758
        faster_rcnn_R_101_C4_3x 138204752 298dad
        faster_rcnn_R_101_DC5_3x 138204841 3e0943
        faster_rcnn_R_101_FPN_3x 137851257 f6e8b1
        faster_rcnn_X_101_32x8d_FPN_3x 139173657 68b088
        retinanet_R_50_FPN_1x 190397773 bfca0b
        retinanet_R_50_FPN_3x 190397829 5bd44e
        retinanet_R_101_FPN_3x 190397697 971ab9
        rpn_R_50_C4_1x 137258005 450694
        rpn_R_50_FPN_1x 137258492 02ce48
        fast_rcnn_R_50_FPN_1x 137635226 e5f7ce
    """,
    "COCO-InstanceSegmentation": """
        mask_rcnn_R_50_C4_1x 137259246 9243eb
        mask_rcnn_R_50_DC5_1x 137260150 4f86c3
        mask_rcnn_R_50_FPN_1x 137260431 a54504
        mask_rcnn_R_50_C4_3x 137849525 4ce675
        mask_rcnn_R_50_DC5_3x 137849551 84107b
        mask_rcnn_R_50_FPN_3x 137849600 f10217
        mask_rcnn_R_101_C4_3x 138363239 a2914c
        mask_rcnn_R_101_DC5_3x 138363294 0464b7
        mask_rcnn_R_101_FPN_3x 138205316 a3ec72
        mask_rcnn_X_101_32x8d_FPN_3x 139653917 2d9806
    """,
    "PascalVOC-Detection": """
        faster_rcnn_R_50_C4 142202221 b1acc2
    """,
    "Misc": """
        cascade_mask_rcnn_R_50_FPN_1x 138602847 e9d89b
        cascade_mask_rcnn_R_50_FPN_3x 144998488 480dd8
        mask_rcnn_R_50_FPN_1x_dconv_c3-c5 138602867 65c703
        mask_rcnn_R_50_FPN_3x_dconv_c3-c5 144998336 821d0b
        mask_rcnn_R_50_FPN_3x_gn 138602888 dc5d9e
        mask_rcnn_R_50_FPN_3x_syncbn 169527823 3b3c51
        scratch_mask_rcnn_R_50_FPN_3x_gn 138602908 01ca85
        scratch_mask_rcnn_R_50_FPN_9x_gn 183808979 da7b4c
        scratch_mask_rcnn_R_50_FPN_9x_syncbn 184226666 5ce33e
    """,
}
# Of upstream's configs.
_FOLDERS = (
    "COCO-Detection/",
    "COCO-InstanceSegmentation/",
    "COCO-Keypoints/",
    "COCO-PanopticSegmentation/",
    "Cityscapes/",
    "Detectron1-Comparisons/",
    "LVISv0.5-InstanceSegmentation/",
    "LVISv1-InstanceSegmentation/",
    "Misc/",
    "PascalVOC-Detection/",
    "common/",
    "new_baselines/",
    "quick_schedules/",
)
_FILES = {
    f"{folder}/{config}": f"{job}/model_final_{checksum}.pkl"
    for folder, lines in _WEIGHTS.items()
    for config, job, checksum in map(str.split, lines.strip().splitlines())
}


def get_checkpoint_url(config_path: str) -> str:
    """Address of published weights.

    Args:
        config_path: upstream's config, as "COCO-Detection/retinanet_R_50_FPN_1x.py" (or .yaml).

    Raises:
        RuntimeError: no weights of that config are known here.
    """
    name = config_path.removesuffix(".yaml").removesuffix(".py")
    if name not in _FILES:
        raise RuntimeError(
            f"no published weights known for {config_path!r}; known are {', '.join(sorted(_FILES))}"
        )
    return f"{_SITE}/{name}/{_FILES[name]}"


def get_config(config_path: str, trained: bool = False) -> DictConfig:
    """Config of a detector, or one of the pieces that configs share.

    Args:
        config_path: one of COCO's RetinaNet, FCOS or Faster R-CNN (C4, FPN) with ResNet-50 or 101,
            as "COCO-Detection/retinanet_R_50_FPN_1x.py" (or .yaml); "common/models/<name>.py";
            or a piece: "common/optim.py", "common/coco_schedule.py", "common/train.py",
            "common/data/coco.py", "common/data/constants.py".
        trained: give the address of its published weights as ``train.init_checkpoint``.

    Returns:
        Of a detector ``model``, ``dataloader``, ``optimizer``, ``lr_multiplier`` and ``train``; of
        anything else what upstream's file of that name has.
    """
    name = config_path.removesuffix(".yaml").removesuffix(".py")
    if name in PIECES:
        return DictConfig(PIECES[name](), flags={"allow_objects": True})
    detector = _DETECTOR.fullmatch(name)
    if detector:
        kind, depth, neck, times = detector.groups()
        name = "common/models/" + (f"{kind}_{neck.lower()}" if kind == "faster_rcnn" else kind)
    files = [folder / f"{name}.py" for folder in _CONFIGS]
    found = [str(file) for file in files if file.parent.name == "models" and file.is_file()]
    if not found and not name.startswith(_FOLDERS):
        raise RuntimeError(
            f"{config_path} is no config of the model zoo, whose names begin with "
            f"{', '.join(_FOLDERS)}"
        )
    if not found:
        needs_upstream(f"the config {config_path}")
    parts = {"model": LazyConfig.load(found[0], "model")}
    if detector:
        backbone = parts["model"].backbone
        backbone.get("bottom_up", backbone).stages.depth = int(depth)
        parts |= training_of(kind, int(depth), int(times))
        if trained:
            parts["train"]["init_checkpoint"] = get_checkpoint_url(config_path)
    return DictConfig(parts, flags={"allow_objects": True})


def get(
    config_path: str, trained: bool = False, device: str | torch.device | None = None
) -> nn.Module:
    """A detector.

    Args:
        config_path: see `get_config`.
        trained: load the published weights.
        device: where it goes; None leaves it on the CPU.
    """
    cfg = get_config(config_path, trained)
    model = instantiate(cfg.model).to(device or "cpu")
    if trained:
        DetectionCheckpointer(model).load(cfg.train.init_checkpoint)
    return model
