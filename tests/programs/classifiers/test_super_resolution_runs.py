"""Super-resolution first, from a network's training to the classifier on what it makes."""

from types import SimpleNamespace

from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.programs.recipe_runs import RecipeRun
from lowres_d2.programs.reproduce_figures import write_sheets
from lowres_d2.programs.visualize import main as visualize

import pytest
import torch
from detectron2.config import instantiate
from PIL import Image

from toys.labelled import write_cifar

FOLDER = "projects/DFD/configs/cifar10"
SHORT = (
    *("train.max_iter=3", "train.eval_period=0", "train.log_period=1", "train.device=cpu"),
    "dataloader.train.total_batch_size=4",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def networks(root, tmp_path_factory):
    """Runs that have trained a network each."""
    folder, runs = tmp_path_factory.mktemp("runs"), {}
    narrow = {
        "espcn": ["model.detector.network.width=4"],
        "vdsr": ["model.detector.network.width=4", "model.detector.network.depth=3"],
        "srgan": [
            *("model.detector.network.width=4", "model.detector.network.depth=1"),
            *("model.detector.discriminator.width=2", "model.detector.discriminator.hidden=4"),
        ],
    }
    for name, changes in narrow.items():
        recipe = f"{FOLDER}/super_resolution2_{name}_8_cifar10.py"
        data = f"dataloader.train.dataset.root={root}"
        runs[name] = RecipeRun(name.upper(), recipe, folder / name, [data, *SHORT, *changes])
    return {name: (run, run.finish()) for name, run in runs.items()}


def test_a_run_reports_psnr_and_ssim_beside_interpolation(networks):
    for run, finished in networks.values():
        found = finished.results["super_resolution"]
        assert found.keys() == {"psnr", "ssim", "psnr-bicubic", "ssim-bicubic"}
        assert run.predictions.is_file()
        assert run.shown.names[0] == "super_resolution/psnr"
    # All were compared with the same interpolated images.
    assert len({finished.results["super_resolution"]["psnr-bicubic"] for _, finished in
                networks.values()}) == 1  # fmt: skip


def test_the_sheet_of_a_report_shows_what_they_make(networks, tmp_path):
    runs = [run for run, _ in networks.values()]
    dataset = instantiate(runs[0].config().dataloader.test.dataset)
    lines = write_sheets(SimpleNamespace(sheets=["super_resolved"]), tmp_path, runs, dataset)
    assert lines == ["![Images before and after super-resolution](super_resolved.png)"]
    width, height = Image.open(tmp_path / "super_resolved.png").size
    assert width > 1000 and height > 6 * 144


def test_visualize_draws_them_too(networks, tmp_path, capsys):
    folders = [f"{name}={run.folder}" for name, (run, _) in networks.items()]
    visualize(["all", "--runs", *folders, "--output", str(tmp_path), "--images", "1"])
    path = tmp_path / "super_resolved.png"
    assert capsys.readouterr().out.splitlines() == [str(path)]
    assert min(Image.open(path).size) > 500
    with pytest.raises(SystemExit):
        visualize(["classified", "--runs", *folders, "--output", str(tmp_path)])
    said = capsys.readouterr().err
    assert "there is none of super_resolution runs, there are super-resolved" in said


def classifier(root, folder, *changes):
    recipe = f"{FOLDER}/espcn4_resnet18_8_cifar10.py"
    data = f"dataloader.train.dataset.root={root}"
    width = ["model.detector.backbone.width=4", "model.resampler.network.width=4"]
    return RecipeRun("classifier", recipe, folder, [data, *SHORT, *width, *changes])


@pytest.mark.parametrize("low_factor", [4, 2])
def test_a_classifier_is_trained_on_what_a_frozen_network_makes(
    root, networks, tmp_path, low_factor
):
    trained, _ = networks["espcn"]
    key = f"model.resampler.checkpoint={trained.folder}"
    other = [] if low_factor == 4 else ["model.resampler.low_factor=2"]
    run = classifier(root, tmp_path / "run", key, *other)
    assert "top1" in run.finish().results["classification"]
    said = (run.folder / "log.txt").read_text()
    assert f"super-resolution network: 6 of 6 tensors loaded from {trained.weights}" in said
    warned = "was trained with low_factor 4, here it gets 2: make them equal"
    assert (warned in said) == bool(other) and "UNUSED" not in said
    ours = read_checkpoint(run.weights)["model"]
    theirs = read_checkpoint(trained.weights)["model"]
    names = [name.removeprefix("detector.") for name in theirs]
    assert len(names) == 6
    for name in names:
        assert torch.equal(ours[f"resampler.{name}"], theirs[f"detector.{name}"])
    # The run's own weights have the network, whose folder may be gone since.
    assert run.model().resampler.network is not None


def test_a_missing_network_stops_the_run_before_it_trains(root, tmp_path):
    run = classifier(root, tmp_path / "run", f"model.resampler.checkpoint={tmp_path}/nowhere.pth")
    with pytest.raises(
        FileNotFoundError, match=r"model\.resampler\.checkpoint: no weights at .*nowhere"
    ):
        run.finish()
    with pytest.raises(ValueError, match=r"has no weights: set model\.resampler\.checkpoint="):
        classifier(root, tmp_path / "run", "model.resampler.checkpoint=").finish()
