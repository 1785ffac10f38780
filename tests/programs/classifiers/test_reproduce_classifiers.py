"""A benchmark of classifiers, from nothing to its report."""

from dataclasses import replace

from lowres_d2.analysis import Point
from lowres_d2.engine.checkpoint import read_checkpoint
from lowres_d2.programs import measured_runs
from lowres_d2.programs.quick_benchmarks import Benchmark, Row
from lowres_d2.programs.reproduce import reproduce

import pytest
import torch
from PIL import Image

from toys.labelled import write_cifar

FULL, LOW = (f"tests/toys/recipes/classifier{name}.py" for name in ("_full", ""))
CONTINUED = ("optimizer.lr=0",)  # weights stay as those that it starts from


BENCHMARK = Benchmark(
    title="Toy classifiers",
    first=FULL,
    first_title="teacher",
    weights_key="train.init_checkpoint",
    longer="",
    longer_title="",
    prepared={"start": Row(LOW, ("train.max_iter=1",), from_first=False)},
    students={
        "student": Row(LOW, (), False, {"train.init_checkpoint": "start"}, curve=("network", None)),
        "ours": Row(
            LOW, CONTINUED, False, {"train.init_checkpoint": "student"}, curve=("network", 2)
        ),
    },
    baseline="student",
    sheets=("thumbnails", "classified", "curves"),
    curves_over="λ",
    closes_gap=True,
    data="Toy CIFAR-10",
    also_compared=[("teacher", "ours"), ("a variant", "ours")],
)


def reproduce_in(folder, benchmark, seeds):
    def measure(models, accuracies, images, *_, **__):
        assert len(images) == 20 and all(image["image"].shape == (3, 32, 32) for image in images)
        return [Point(name, accuracies[name], 10.0, 2e7) for name in models]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured_runs, "measure_points", measure)
        root = write_cifar(folder / "data")
        reproduce(benchmark, folder / "out", seeds, overrides=[f"data.root={root}"])
    return folder / "out"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """The report of two seeds, with its folder."""
    return reproduce_in(tmp_path_factory.mktemp("benchmark"), BENCHMARK, [1, 2])


def test_a_benchmark_can_do_without_a_first_model(tmp_path):
    alone = replace(BENCHMARK, first="", closes_gap=False, sheets=(), also_compared=())
    text = (reproduce_in(tmp_path, alone, [1]) / "report.md").read_text()
    assert "Gain: against student." in text and "**ours** against student: top1 " in text
    assert "teacher" not in text and {"seed1"} == {
        path.name for path in (tmp_path / "out").iterdir() if path.is_dir()
    }


def test_the_report_has_accuracies_and_nothing_of_boxes(reproduced):
    text = (reproduced / "report.md").read_text()
    assert "Toy CIFAR-10, 20 test images; 2 seed(s), mean ± standard deviation. Gap" in text
    assert "distance from student to teacher.\n" in text and not (reproduced / "longer").exists()
    head = next(line for line in text.splitlines() if "top5" in line)
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        *("", "top1", "top5", "top1 drop", "drop reduction", "gap closed", "core min")
    ]
    assert "**ours** against student: top1 " in text and "**teacher** against ours: top1 " in text
    assert "a variant" not in text
    assert "![top1 against images per second](trade_off.png)" in text
    assert "Each seed's curves and images: [seed 1]" in text
    whole = text + (reproduced / "seed2" / "report.md").read_text()
    for boxes in ("AP", "object", "detect", "Size range"):
        assert boxes not in whole


def test_prepared_networks_have_a_table_of_their_own(reproduced):
    lines = (reproduced / "report.md").read_text().splitlines()
    (row,) = (k for k, line in enumerate(lines) if line.startswith("| start "))
    assert [cell.strip() for cell in lines[row - 2].split("|")[1:-1]] == [
        *("", "top1", "top5", "core min")
    ]
    assert "±" in lines[row] and not lines[row + 1]


@pytest.mark.parametrize(
    "name", ["trade_off.png", "thumbnails.png", "classified.png", "curves.png"]
)
def test_its_figures_are_drawn(reproduced, name):
    assert f"({name})" in (reproduced / "report.md").read_text()
    assert min(Image.open(reproduced / name).size) > 200


def test_a_row_starts_from_an_earlier_one_of_its_seed(reproduced):
    def weights(path):
        return read_checkpoint(path / "model_final.pth")["model"]["detector.classifier.weight"]

    students = [weights(reproduced / f"seed{seed}" / "student") for seed in (1, 2)]
    ours = [weights(reproduced / f"seed{seed}" / "ours") for seed in (1, 2)]
    assert not torch.equal(*students)
    assert all(torch.equal(*pair) for pair in zip(students, ours, strict=True))


def test_a_row_that_starts_from_another_has_a_folder_of_its_own():
    rows = Row(LOW), Row(LOW, CONTINUED), Row(LOW, weights_of={"train.init_checkpoint": "student"})
    assert [row.folder("as + before") for row in rows] == ["classifier", *["as_before"] * 2]
