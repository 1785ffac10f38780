import shutil

from lowres_d2.programs.train import main

import pytest
import torch

from toys.one_line_errors import error_of

RECIPE = "tests/toys/recipes/cached.py"


@pytest.fixture
def arguments(toy_arguments):
    toy_arguments[1] = RECIPE
    return [*toy_arguments, "train.checkpointer.period=1", "train.checkpointer.max_to_keep=9"]


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def files(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_the_contents_of_the_cache_do_not_change_a_run(arguments, tmp_path):
    cold, warm, broken = (tmp_path / name for name in ("run", "warm", "broken"))
    main(arguments)
    assert len(files(cold)) == 6  # images of the data set
    log = (cold / "log.txt").read_text()
    assert "teacher cache" in log and "6 images of" in log
    assert "random augmentation" not in log
    # Another run that reads all of it, and one that was killed with half of it gone.
    shared = f"model.teacher.cache.folder={cold / 'teacher_cache'}"
    main([*arguments, shared, f"train.output_dir={warm}"])
    assert same(weights(cold), weights(warm)) and not files(warm)
    broken.mkdir()
    shutil.copy(cold / "model_0000002.pth", broken)
    (broken / "last_checkpoint").write_text("model_0000002.pth")
    for path in files(cold)[::2]:
        path.unlink()
    main(["--resume", *arguments, shared, f"train.output_dir={broken}"])
    assert same(weights(cold), weights(broken))


def test_a_cache_that_would_be_too_large_is_refused(arguments, tmp_path, capsys):
    line = error_of([*arguments, "model.teacher.cache.limit_gb=1e-6"], capsys)
    assert "6 images of" in line and "limit_gb" in line
    assert not files(tmp_path)


def test_random_augmentation_is_warned_of_at_the_start(arguments, tmp_path):
    crop = "_target_: detectron2.data.transforms.RandomCrop, crop_type: absolute, crop_size: [9, 9]"
    main([*arguments, f"dataloader.train.mapper.augmentations=[{{{crop}}}]"])
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "model.teacher.cache: random augmentation makes ever new versions" in log
