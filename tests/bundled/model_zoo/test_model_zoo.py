import lowres_d2
from lowres_d2.modeling.without_values import without_values

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import instantiate
from omegaconf import OmegaConf

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="about the bundled core"
)


def number_of_parameters(config: str) -> int:
    with without_values():
        model = instantiate(model_zoo.get_config(config).model)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("suffix", ["", ".py", ".yaml"])
def test_addresses_of_published_weights(suffix):
    name = "COCO-Detection/retinanet_R_50_FPN_1x"
    site = "https://dl.fbaipublicfiles.com/detectron2"
    expected = f"{site}/{name}/190397773/model_final_bfca0b.pkl"
    assert model_zoo.get_checkpoint_url(name + suffix) == expected


def test_no_address_of_unknown_weights():
    with pytest.raises(RuntimeError, match="nope"):
        model_zoo.get_checkpoint_url("COCO-Detection/nope.yaml")


@bundled_only
@pytest.mark.parametrize(
    "kind", ["retinanet_R_{}_FPN_3x", "faster_rcnn_R_{}_FPN_3x", "faster_rcnn_R_{}_C4_3x"]
)
def test_resnet_101_has_17_more_blocks_in_res4(kind):
    block = 1024 * 256 + 3 * 3 * 256 * 256 + 256 * 1024
    r50, r101 = (number_of_parameters(f"COCO-Detection/{kind.format(n)}.yaml") for n in (50, 101))
    assert r101 - r50 == 17 * block


@bundled_only
def test_a_trained_config_names_its_weights():
    name = "COCO-Detection/retinanet_R_50_FPN_1x.py"
    weights = model_zoo.get_config(name, trained=True).train.init_checkpoint
    assert weights == model_zoo.get_checkpoint_url(name)


@bundled_only
@pytest.mark.parametrize(
    "config",
    [
        "Misc/semantic_R_50_FPN_1x.yaml",
        "common/data/coco_keypoint.py",
        "common/nope.py",
        "COCO-Detection/rpn_R_50_C4_1x.py",
    ],
)
def test_configs_of_other_models_need_upstream(config):
    with pytest.raises(NotImplementedError, match=f"{config} needs upstream"):
        model_zoo.get(config)


@bundled_only
def test_what_no_zoo_has_is_said_to_be_none():
    for name in ("nosuch.py", "mine/retinanet.yaml"):
        with pytest.raises(RuntimeError, match=f"{name} is no config of the model zoo, .*COCO-De"):
            model_zoo.get_config(name)


# Values measured on upstream.
@pytest.mark.parametrize(
    ("piece", "key", "value"),
    [
        ("common/optim.py", "SGD.lr", 0.02),
        ("common/optim.py", "SGD.params.weight_decay_norm", 0.0),
        ("common/optim.py", "AdamW.weight_decay", 0.1),
        ("common/optim.py", "AdamW.betas", [0.9, 0.999]),
        ("common/coco_schedule.py", "lr_multiplier_1x.warmup_length", 1 / 90),
        ("common/coco_schedule.py", "lr_multiplier_2x.scheduler.milestones", [60000, 80000, 90000]),
        (
            "common/coco_schedule.py",
            "lr_multiplier_3x.scheduler.milestones",
            [210000, 250000, 270000],
        ),
        (
            "common/coco_schedule.py",
            "lr_multiplier_9x.scheduler.milestones",
            [750000, 790000, 810000],
        ),
        ("common/train.py", "train.checkpointer.max_to_keep", 100),
        ("common/train.py", "train.ddp.fp16_compression", False),
        ("common/data/coco.py", "dataloader.train.total_batch_size", 16),
        ("common/data/coco.py", "dataloader.test.mapper.image_format", "BGR"),
        ("common/data/coco.py", "dataloader.evaluator.dataset_name", "coco_2017_val"),
        ("common/data/constants.py", "constants.imagenet_bgr256_mean", [103.53, 116.28, 123.675]),
    ],
)
def test_the_shared_pieces_have_upstreams_values(piece, key, value):
    assert OmegaConf.select(model_zoo.get_config(piece), key) == pytest.approx(value)


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_the_shared_optimizers_can_be_made(name):
    optimizer = model_zoo.get_config("common/optim.py")[name]
    optimizer.params.model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    made = instantiate(optimizer)
    assert type(made).__name__ == name
    decays = {p.shape: g["weight_decay"] for g in made.param_groups for p in g["params"]}
    assert decays[(2, 2)] == optimizer.weight_decay and 0.0 in decays.values()


@pytest.mark.parametrize("kind", ["retinanet", "fcos"])
def test_a_detectors_config_has_all_that_training_needs(kind):
    cfg = model_zoo.get_config(f"COCO-Detection/{kind}_R_50_FPN_1x.py")
    assert set(cfg) == {"model", "dataloader", "optimizer", "lr_multiplier", "train"}
    assert cfg.optimizer.lr == 0.01 and cfg.train.max_iter == 90000
    assert cfg.train.init_checkpoint == "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
    assert not cfg.dataloader.train.mapper.use_instance_mask
    assert instantiate(cfg.lr_multiplier)(0.7) == pytest.approx(0.1)
    mapper = instantiate(cfg.dataloader.train.mapper)
    assert mapper.is_train and len(mapper.augmentations.augs) == 2


@bundled_only
def test_a_longer_run_of_a_deeper_faster_rcnn():
    cfg = model_zoo.get_config("COCO-Detection/faster_rcnn_R_101_FPN_3x.yaml")
    assert cfg.train.max_iter == cfg.lr_multiplier.scheduler.milestones[-1] == 270000
    assert cfg.train.init_checkpoint.endswith("/R-101.pkl") and cfg.optimizer.lr == 0.02


@bundled_only
def test_pieces_are_made_anew_each_time():
    model_zoo.get_config("common/optim.py").SGD.lr = 1.0
    assert model_zoo.get_config("common/optim.py").SGD.lr == 0.02


@bundled_only
def test_a_model_comes_with_random_weights():
    model = model_zoo.get("COCO-Detection/fcos_R_50_FPN_1x.py")
    assert type(model).__name__ == "FCOS" and model.pixel_mean.device.type == "cpu"
