"""Both twins of a pre-training recipe of BottomHeavy have one setting, as the paper has it."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from toys.narrow import load_shipped

FOLDER = Path("projects/BottomHeavy/configs/pretrain")
NAMES = sorted(path.name.removeprefix("bh_") for path in FOLDER.glob("bh_*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_pre_training_has_one_setting_for_both_twins(name):
    twins = []
    for kind in ("bh", "standard"):
        cfg = load_shipped(str(FOLDER / f"{kind}_{name}"))
        backbone = cfg.model.detector.pop("backbone")
        assert (
            backbone._target_.__name__
            == {
                "bh": {"resnet50": "bottom_heavy", "hrnet32": "BottomHeavyHRNet"},
                "standard": {"resnet50": "ResNet", "hrnet32": "HRNet"},
            }[kind][name.partition("_")[0]]
        )
        del cfg.train["output_dir"]
        twins.append(OmegaConf.to_container(cfg))
    assert twins[0] == twins[1]
    assert {path.name for path in FOLDER.glob("standard_*.py")} == {f"standard_{n}" for n in NAMES}
