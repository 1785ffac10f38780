"""What happens to an earlier run's files in the folder of a new one."""

import logging
import os
import shutil

from lowres_d2.data.datasets import BoxDataset, CocoDataset
from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.engine.evaluation_file import read_evaluation, subject_of, write_evaluation
from lowres_d2.engine.processes.folder_lock import ELSEWHERE, folder_lock
from lowres_d2.engine.run_folder import MOVING, check_sources, claimed, put_aside, save_config
from lowres_d2.evaluation.found_boxes import PREDICTIONS
from lowres_d2.own_files import LIST
from lowres_d2.programs.train import main

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from toys.data import ToyData
from toys.one_line_errors import error_of
from toys.runs import STAGED

OF_A_RUN = (
    "config.yaml",
    "log.txt",
    "log.txt.rank1",
    "metrics.json",
    "events.out.tfevents.1.host",
    "last_checkpoint",
    "model_0000002.pth",
    "model_best.pth",
    "model_final.pth",
    "non_finite_0000003.pth",
    "evaluation.json",
    "coco_instances_results.json",
    "sized_coco.json",
    "classifications.json",
    "classification_summary.json",
    "super_resolution.json",
    "sweep.json",
    "tiles.png",
    "made_from.json",
    "recipe.sha256",
    "done.json",
)
OF_THE_USER = ("notes.txt", "model_teacher.pth", "train.json", "earlier.txt", ".lock")


def fill(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def names(folder):
    return {path.name for path in folder.iterdir()}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_runs_files_are_moved_as_one_and_all_others_stay(tmp_path):
    fill(tmp_path, *OF_A_RUN, *OF_THE_USER)
    fill(tmp_path / "on_200", "evaluation.json")
    fill(tmp_path / "resolution_3_2", "evaluation.json")
    assert put_aside(tmp_path) == tmp_path / "earlier1"
    assert names(tmp_path) == {*OF_THE_USER, "earlier1"}
    assert names(tmp_path / "earlier1") == {*OF_A_RUN, "on_200", "resolution_3_2"}
    assert put_aside(tmp_path) is None
    fill(tmp_path, "metrics.json")
    shutil.rmtree(tmp_path / "earlier1")
    (tmp_path / "earlier9").mkdir()
    assert put_aside(tmp_path) == tmp_path / "earlier10"


def test_a_move_that_was_killed_is_finished_by_the_next(tmp_path):
    fill(tmp_path, *OF_A_RUN[:6])
    fill(tmp_path / MOVING, *OF_A_RUN[6:])
    assert put_aside(tmp_path) == tmp_path / "earlier1"
    assert names(tmp_path) == {"earlier1"}
    assert names(tmp_path / "earlier1") == {*OF_A_RUN}
    (tmp_path / MOVING).mkdir()  # killed before its last step
    assert put_aside(tmp_path) == tmp_path / "earlier2"


@pytest.fixture
def finished(trained, tmp_path):
    """Folder of a finished run, and the arguments of a run into it."""
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    return folder, trained.arguments(folder)


@pytest.mark.parametrize(
    "mistake",
    [
        "train.init_checkpoint=/nonexistent.pth",
        "train.device=cuda:9",
        "optimizer.lr=-1.0",
        "train.best.mode=most",
        "dataloader.train.total_batch_size=0",
    ],
)
def test_a_mistaken_start_changes_nothing(finished, capsys, mistake):
    folder, arguments = finished
    before = contents(folder)
    error_of([*arguments, "train.eval_period=1", mistake], capsys)
    assert contents(folder) == before


def test_a_broken_image_of_the_first_batch_changes_nothing(finished, tmp_path, capsys):
    folder, arguments = finished
    before = contents(folder)
    data = ToyData(tmp_path / "broken")
    for image in data.images.iterdir():
        image.write_bytes(image.read_bytes()[:60])
    for workers in (0, 2):
        more = [f"data.train_json={data.write()}", f"dataloader.train.num_workers={workers}"]
        assert "cannot be read as an image" in error_of([*arguments, *more], capsys)
        assert contents(folder) == before


def test_a_failed_start_leaves_no_folder(trained, tmp_path, capsys):
    arguments = trained.arguments(tmp_path / "output" / "new")
    for flags in ([], ["--eval-only"], ["--resume"]):
        error_of([*flags, *arguments, "train.init_checkpoint=/nonexistent.pth"], capsys)
        assert not list(tmp_path.iterdir())


def test_a_fresh_run_that_is_stopped_at_once_leaves_nothing_to_resume(
    finished, monkeypatch, capsys
):
    folder, arguments = finished
    shutil.copy(folder / "model_final.pth", folder / "model_best.pth")
    before = contents(folder)
    with monkeypatch.context() as patch:
        patch.setattr("lowres_d2.engine.train.SimpleTrainer.run_step", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(arguments)
    assert contents(folder / "earlier1") == before
    assert names(folder) >= {"config.yaml", "log.txt", "earlier1"}
    assert not list(folder.glob("*.pth")) and not (folder / "last_checkpoint").exists()
    main(["--resume", *arguments])
    said = capsys.readouterr().out
    assert f"{folder} had an earlier run: its files are in {folder / 'earlier1'} now" in said
    assert f"there is no checkpoint in {folder}, so the run starts at iteration 0" in said
    assert torch.load(folder / "model_final.pth", weights_only=True)["trainer"]["iteration"] == 1
    assert contents(folder / "earlier1") == before


def test_a_resumed_run_names_the_settings_that_changed(finished, caplog):
    folder, arguments = finished
    before = (folder / "config.yaml").read_text()
    fill(folder, "made_from.json")
    with caplog.at_level(logging.INFO):
        main(["--resume", *arguments, "train.max_iter=3", "optimizer.lr=0.0001"])
    (line,) = [m for m in caplog.messages if m.startswith("settings changed")]
    assert "optimizer.lr 0.012 -> 0.0001" in line and "train.max_iter 2 -> 3" in line
    assert "output_dir" not in line
    assert not (folder / "earlier1").exists()
    assert not (folder / "made_from.json").exists()  # of other settings
    assert "lr: 0.0001" in (folder / "config.yaml").read_text()
    assert (folder / "config-earlier1.yaml").read_text() == before
    main(["--resume", *arguments, "train.max_iter=3", "optimizer.lr=0.0001"])
    assert len(list(folder.glob("config*"))) == 2  # the same settings again


def test_a_folder_that_another_run_writes_into_is_left_alone(finished, capsys):
    folder, arguments = finished
    weights = f"train.init_checkpoint={folder / 'model_final.pth'}"
    with folder_lock(folder / ".lock"):
        before = contents(folder)
        for flags, more in (
            ([], []),
            (["--resume"], ["train.max_iter=3"]),
            (["--eval-only"], [weights]),
        ):
            line = error_of([*flags, *arguments, *more], capsys)
            assert f"{folder} is in use by process {os.getpid()} on " in line
            assert contents(folder) == before


def test_a_place_that_cannot_be_written_to_names_the_option(trained, tmp_path, capsys):
    (tmp_path / "file").touch()
    weights = f"train.init_checkpoint={trained.file}"
    for flags, more in (([], []), (["--eval-only"], [weights])):
        line = error_of([*flags, *trained.arguments(tmp_path / "file"), *more], capsys)
        assert f"{tmp_path / 'file'} cannot be written to (" in line
        assert ELSEWHERE in line
        below = error_of([*flags, *trained.arguments(tmp_path / "file" / "run"), *more], capsys)
        assert ELSEWHERE in below


def test_a_place_that_cannot_be_written_to_is_said_before_data_are_read(
    trained, tmp_path, monkeypatch, capsys
):
    def build_datasets(*given):
        raise AssertionError("data are read")

    for module in ("train", "evaluate"):
        monkeypatch.setattr(f"lowres_d2.engine.{module}.build_datasets", build_datasets)
    (tmp_path / "file").touch()
    weights = f"train.init_checkpoint={trained.file}"
    for flags, more in (([], []), (["--eval-only"], [weights])):
        line = error_of([*flags, *trained.arguments(tmp_path / "file" / "run"), *more], capsys)
        assert f"{tmp_path / 'file' / 'run'} cannot be written to (" in line


def test_a_moved_runs_config_means_the_folder_that_it_is_in(finished, tmp_path, capsys):
    folder, _ = finished
    before, moved = contents(folder), tmp_path / "moved"
    folder.rename(moved)
    config = ["--config-file", str(moved / "config.yaml")]
    main(["--resume", *config, "train.max_iter=3"])
    final = torch.load(moved / "model_final.pth", weights_only=True)
    assert final["trainer"]["iteration"] == 2
    main(["--eval-only", *config, f"train.init_checkpoint={moved / 'model_final.pth'}"])
    main(config)  # a fresh run there; its recipe says 3 iterations now
    assert names(tmp_path) == {"moved"} and (moved / "earlier1" / "config.yaml").is_file()
    assert "resumed at iteration 2" in (moved / "earlier1" / "log.txt").read_text()
    assert {path.name for path in before} <= names(moved / "earlier1")
    main(["--eval-only", *config, f"train.init_checkpoint={moved / 'model_final.pth'}",
          f"train.output_dir={tmp_path / 'elsewhere'}"])  # fmt: skip
    assert (tmp_path / "elsewhere" / "evaluation.json").is_file()


def recipe(dataset, evaluator, **mapper):
    """What decides on an evaluation, with a data set that was built."""
    data = {"test": {"dataset": dataset, "mapper": mapper}, "evaluator": evaluator}
    recipe = {"model": {"_target_": nn.Linear}, "dataloader": data}
    return OmegaConf.create(recipe, flags={"allow_objects": True})


def test_an_evaluation_is_of_its_weights_data_and_settings(tmp_path, coco_json):
    dataset, model = CocoDataset(coco_json), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    evaluator = {"dataset": "${..test.dataset}", "output_dir": "a", "max_dets": 100}
    fill(tmp_path, PREDICTIONS)
    subject = subject_of(recipe(dataset, evaluator), model)
    results = {"bbox": {"AP": 12.5, "AP-large": None}}
    assert read_evaluation(tmp_path, subject) is None  # there is none
    write_evaluation(tmp_path, results, subject)
    assert read_evaluation(tmp_path, subject) == results

    model[1].num_batches_tracked += 1  # no weight
    moved = recipe(CocoDataset(coco_json), {**evaluator, "output_dir": "b"})
    moved.model._target_ = "torch.nn.Linear"
    assert subject_of(moved, model) == subject
    # As a test set is that got its classes from the weights.
    same = BoxDataset(list(dataset), dataset.classes, source=dataset.source)
    assert subject_of(recipe(same, evaluator), model) == subject
    half = EvenSample(dataset, 3)
    others = [
        recipe(half, evaluator),
        recipe(dataset, {**evaluator, "max_dets": 300}),
        recipe(dataset, [{"dataset": "${...test.dataset}", "output_dir": "a"}]),
        recipe(dataset, evaluator, image_format="L"),
    ]
    found = [subject_of(cfg, model) for cfg in others]
    for buffer_or_weight in (model[1].running_mean, model[0].bias.data):
        buffer_or_weight += 1
        found.append(subject_of(recipe(dataset, evaluator), model))
    assert len({tuple(one.values()) for one in [subject, *found]}) == 7
    assert not any(read_evaluation(tmp_path, one) for one in found)
    assert subject_of(recipe([{"file_name": "a.png"}], evaluator), model)["test_set"] == ""

    (tmp_path / PREDICTIONS).write_text("[]")  # of an evaluation that was killed before its end
    assert read_evaluation(tmp_path, subject) is None
    (tmp_path / PREDICTIONS).unlink()
    assert read_evaluation(tmp_path, subject) is None
    write_evaluation(tmp_path, results, subject)  # an evaluator that writes no detections
    assert read_evaluation(tmp_path, subject) == results


@pytest.mark.parametrize("name", ["evaluation.json", "coco_instances_results.json", "log.txt"])
def test_an_evaluation_replaces_no_file_of_the_user(trained, tmp_path, capsys, name):
    folder = tmp_path / "mine"
    fill(folder, name)
    arguments = ["--eval-only", *trained.arguments(folder), f"train.init_checkpoint={trained.file}"]
    line = error_of(arguments, capsys)
    assert f"{folder / name}" in line and "wrote it" in line
    assert (folder / name).read_text() == name
    (folder / name).unlink()
    main(arguments)
    main(arguments)  # its own are replaced


def test_a_fresh_run_moves_nothing_beside_a_log_of_the_user(trained, tmp_path, capsys):
    folder = tmp_path / "mine"
    fill(folder, "log.txt", "config.yaml")
    before = contents(folder)
    line = error_of(trained.arguments(folder), capsys)
    assert f"{folder / 'log.txt'} exists, and no run of this program wrote it" in line
    assert contents(folder) == before


def test_a_recipe_that_was_put_aside_is_never_replaced(tmp_path):
    for lr in (1, 2, 3):
        save_config(OmegaConf.create({"lr": lr}), tmp_path)
    (tmp_path / "config-earlier1.yaml").unlink()  # by the user
    save_config(OmegaConf.create({"lr": 4}), tmp_path)
    kept = {name: (tmp_path / name).read_text() for name in names(tmp_path)}
    assert kept == {
        "config.yaml": "{lr: 4}\n",
        "config-earlier2.yaml": "{lr: 2}\n",
        "config-earlier3.yaml": "{lr: 3}\n",
    }


def test_results_of_versions_that_kept_no_list_are_a_runs_beside_its_log(finished):
    folder, arguments = finished
    (folder / LIST).unlink()
    main(["--eval-only", *arguments, f"train.init_checkpoint={folder / 'model_final.pth'}"])
    assert b"evaluation.json" in (folder / LIST).read_bytes()


def test_a_file_of_the_user_is_put_aside_and_not_replaced_by_a_run(trained, tmp_path):
    folder = tmp_path / "mine"
    fill(folder, "config.yaml", "metrics.json", "model_final.pth")
    main(trained.arguments(folder))
    for name in ("config.yaml", "metrics.json", "model_final.pth"):
        assert (folder / "earlier1" / name).read_text() == name


def test_a_folder_that_cannot_be_locked_is_not_left_behind(tmp_path, monkeypatch):
    def no_space(content, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("json.dump", no_space)
    words = r"new/run cannot be written to \(No space left on device\): choose another "
    with pytest.raises(OSError, match=words), claimed(tmp_path / "new" / "run"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["train.init_checkpoint", "model.teacher.checkpoint"])
def test_a_run_that_would_move_its_own_sources_is_refused(finished, capsys, key):
    folder, arguments = finished
    before = contents(folder)
    if key.startswith("model"):
        arguments = trained_arguments(arguments)
    line = error_of([*arguments, f"{key}={folder}/../run/model_final.pth"], capsys)
    assert f"{key}: " in line and ELSEWHERE in line
    assert contents(folder) == before


def trained_arguments(arguments):
    """The same with a recipe that has a teacher."""
    return [
        arguments[0],
        STAGED,
        *arguments[2:],
        "train.teacher_check.images=0",
        "train.max_iter=6",
    ]


@pytest.mark.parametrize("named", ["", "model_final.pth"])
@pytest.mark.parametrize("key", ["train.init_checkpoint", "model.teacher.checkpoint"])
def test_weights_that_the_run_itself_would_put_aside_are_refused(tmp_path, key, named):
    cfg = OmegaConf.create({"train": {"output_dir": str(tmp_path)}, "model": {"teacher": {}}})
    OmegaConf.update(cfg, key, str(tmp_path / named))
    with pytest.raises(ValueError, match=f"{key}: .* choose another output folder"):
        check_sources(cfg)
    OmegaConf.update(cfg, key, str(tmp_path / "another" / named))
    check_sources(cfg)
