import lowres_d2

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import instantiate

bundled_only = pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="about the bundled core"
)


def number_of_parameters(config: str) -> int:
    with torch.device("meta"):
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
    ["Misc/semantic_R_50_FPN_1x.yaml", "common/data/coco.py", "COCO-Detection/rpn_R_50_C4_1x.py"],
)
def test_configs_of_other_models_need_upstream(config):
    with pytest.raises(NotImplementedError, match=f"{config} needs upstream"):
        model_zoo.get(config)


@bundled_only
def test_a_model_comes_with_random_weights():
    model = model_zoo.get("COCO-Detection/fcos_R_50_FPN_1x.py")
    assert type(model).__name__ == "FCOS" and model.pixel_mean.device.type == "cpu"
