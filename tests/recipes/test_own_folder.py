from lowres_d2.recipes.load import load_recipe

import pytest
from detectron2.config import LazyConfig

RECIPE = "configs/quick/full_fcos_small_256_plates.py"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A recipe as a run saves it, whose output folder is another one."""
    path = tmp_path_factory.mktemp("saved") / "config.yaml"
    LazyConfig.save(load_recipe(RECIPE), str(path))
    return path


@pytest.mark.parametrize(
    ("name", "beside", "own"),
    [
        ("config.yaml", "last_checkpoint", True),
        ("config.yaml", "model_final.pth", True),  # carried with its weights alone
        ("config.yaml", "notes.txt", True),  # copied alone: not to write into the run it is of
        ("mine.yaml", "model_final.pth", False),
    ],
)
def test_a_runs_config_means_its_folder(saved, tmp_path, name, beside, own):
    (tmp_path / name).write_text(saved.read_text())
    (tmp_path / beside).touch()
    found = load_recipe(tmp_path / name).train.output_dir
    assert found == (str(tmp_path) if own else "output/full_fcos_small_256_plates")
    # References follow, and the command line decides.
    cfg = load_recipe(tmp_path / name, ["train.output_dir=elsewhere"])
    assert cfg.train.output_dir == cfg.dataloader.evaluator.output_dir == "elsewhere"


def test_a_recipe_of_that_name_without_a_folder_is_named_after_its_file(saved, tmp_path):
    text = saved.read_text().replace("output/full_fcos_small_256_plates", "''")
    (tmp_path / "config.yaml").write_text(text)
    assert load_recipe(tmp_path / "config.yaml").train.output_dir == "output/config"
