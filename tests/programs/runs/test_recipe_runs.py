"""When a run counts as done, what changed if it does not, and whose folders are renamed."""

import itertools
import json
from pathlib import Path

from lowres_d2.engine.run_folder import claimed
from lowres_d2.programs import recipe_runs
from lowres_d2.programs.compare import compare
from lowres_d2.programs.made_from import made_from
from lowres_d2.programs.quick_benchmarks import BENCHMARKS
from lowres_d2.programs.quickstart import FULL, quickstart
from lowres_d2.programs.recipe_runs import RecipeRun
from lowres_d2.programs.reproduce import reproduce
from lowres_d2.recipes.load import load_recipe

import pytest
import torch

from toys.data import ToyData
from toys.runs import PLAIN


class Trainings:
    """Stands for training: notes how it was called, and writes other weights each time."""

    def __init__(self):
        self.resumed, self.numbers, self.stops = [], itertools.count(), False

    def __call__(self, cfg, resume=False, started=None):
        self.resumed.append(resume)
        folder = Path(cfg.train.output_dir)
        with claimed(folder, fresh=not resume):
            (folder / "log.txt").write_text("lowres_d2")
            if started is not None:
                started()
            name = "model_0000001.pth" if self.stops else "model_final.pth"
            weights = {"weight": torch.full((1,), next(self.numbers))}
            torch.save({"iteration": 1, "model": weights}, folder / name)
            if self.stops:
                raise KeyboardInterrupt
        return {}


@pytest.fixture
def trainings(monkeypatch):
    found = Trainings()
    monkeypatch.setattr(recipe_runs, "train", found)
    monkeypatch.setattr(RecipeRun, "_results", {})
    return found


@pytest.fixture
def data(tmp_path):
    data = ToyData(tmp_path / "data")
    data.write()
    return data


@pytest.fixture
def run(tmp_path, data, trainings):
    """A function that finishes the same run, as each call of a program does."""
    start = tmp_path / "start.pth"
    start.write_bytes(b"weights")
    overrides = [*data.overrides(), f"train.init_checkpoint={start}"]
    return lambda *more: RecipeRun("bicubic", PLAIN, tmp_path / "run", [*overrides, *more]).finish()


def change_a_box(tmp_path, data):
    data.content["annotations"][0]["bbox"][0] += 1
    data.write()


def change_the_start(tmp_path, data):
    (tmp_path / "start.pth").write_bytes(b"other weights")


def replace_the_weights(tmp_path, data):
    torch.save({"iteration": 3}, tmp_path / "run" / "model_final.pth")


def retrain_in_the_folder(tmp_path, data):
    Trainings()(load_recipe(PLAIN, [f"train.output_dir={tmp_path / 'run'}"]))


CHANGES = {
    change_a_box: "bicubic: the training data changed since it was trained",
    change_the_start: "bicubic: train.init_checkpoint changed since it was trained",
    replace_the_weights: "bicubic: model_final.pth was replaced since it was trained",
    retrain_in_the_folder: "bicubic: it is not known what the run in its folder was made from",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_done_until_what_it_is_made_from_changes(
    change, run, trainings, data, tmp_path, capsys
):
    first = run()
    assert run() == first and len(trainings.resumed) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"done before: {tmp_path / 'run'}"
    change(tmp_path, data)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    run()
    said = capsys.readouterr().out.splitlines()
    kept = tmp_path / "run-earlier1"
    assert said[0] == f"{CHANGES[change]}; what was in {tmp_path / 'run'} is in {kept} now"
    assert trainings.resumed == [False, False]
    assert {path.name for path in kept.iterdir()} == left
    run()
    assert len(trainings.resumed) == 2  # done again


def test_several_changes_are_one_line(run, data, tmp_path, capsys):
    run()
    change_a_box(tmp_path, data)
    capsys.readouterr()
    run("optimizer.lr=0.5")
    said = capsys.readouterr().out
    assert said.startswith("bicubic: the recipe, the training data changed since it was trained; ")


def test_an_interrupted_run_is_resumed_unless_its_data_changed(run, trainings, data, tmp_path):
    trainings.stops = True
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run()
    assert trainings.resumed == [False, True]
    change_a_box(tmp_path, data)
    trainings.stops = False
    run()
    assert trainings.resumed == [False, True, False]
    assert (tmp_path / "run-earlier1" / "model_0000001.pth").is_file()


def test_a_run_of_an_earlier_version_is_kept_with_a_warning(run, trainings, data, tmp_path, capsys):
    run()
    done = tmp_path / "run" / "done.json"
    record = json.loads(done.read_text())
    digest = record.pop("made_from")["the recipe"]
    record.pop("weights")
    done.write_text(json.dumps(record))
    (tmp_path / "run" / "made_from.json").unlink()
    (tmp_path / "run" / "recipe.sha256").write_text(digest)
    change_a_box(tmp_path, data)
    capsys.readouterr()
    run()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and said[0].startswith("done before: ")
    assert "trained by an earlier version, so it is not known whether" in said[1]
    assert len(trainings.resumed) == 1


def test_a_generated_set_is_not_generated_for_its_digest(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model_final.pth").write_bytes(b"weights")
    found = made_from(load_recipe(FULL[1], [f"train.init_checkpoint={tmp_path / 'run'}"]))
    assert found.keys() == {"the recipe", "the training data", "train.init_checkpoint"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def start_compare(output, data):
    compare(output, 2, data.overrides())


def start_quickstart(output, data):
    quickstart(output)


def start_reproduce(output, data):
    reproduce(BENCHMARKS["thumbdet"], output, [1, 2])


@pytest.mark.parametrize(
    ("start", "name", "content"),
    [
        (start_compare, "thumbdet2", "images/1.png"),
        (start_compare, "thumbdet2", "log.txt"),
        (start_compare, "thumbdet2", ""),
        (start_quickstart, "full_fcos_small_256_plates", "notes.txt"),
        (start_reproduce, "teacher", "notes.txt"),
        (start_reproduce, "seed2/bicubic4_fcos_small_64_plates", "notes.txt"),
    ],
)
def test_a_folder_of_the_user_is_refused_before_any_training(
    start, name, content, trainings, data, tmp_path
):
    mine = tmp_path / "out" / name
    file = mine / content  # "": it is a file itself
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name}: exists, and is not the folder of a run"):
        start(tmp_path / "out", data)
    assert file.read_text() == "mine" and not trainings.resumed
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]


def test_an_empty_folder_is_used(run, tmp_path):
    (tmp_path / "run").mkdir()
    run()
    assert (tmp_path / "run" / "done.json").is_file()
    assert not (tmp_path / "run-earlier1").exists()
