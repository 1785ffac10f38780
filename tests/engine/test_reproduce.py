from dataclasses import replace

from lowres_d2.engine.quick_benchmarks import BENCHMARKS
from lowres_d2.engine.reproduce import main, reproduce

import pytest

TINY = [
    "train.max_iter=3",
    "train.eval_period=0",
    "train.checkpointer.period=10",
    "train.log_period=1",
    "train.device=cpu",
    "train.teacher_check.pictures=0",
    "dataloader.train.dataset.num_images=8",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.dataset.num_images=16",
    "dataloader.test.num_workers=0",
]


@pytest.mark.slow
def test_a_benchmark_goes_from_nothing_to_a_report_and_is_not_done_twice(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    students = dict(list(BENCHMARKS["thumbdet"].students.items())[:1])
    benchmark = replace(BENCHMARKS["thumbdet"], students=students)
    report = reproduce(benchmark, tmp_path / "out", [1, 2], overrides=TINY)
    text = report.read_text()
    for title in ("teacher", "full resolution", "bicubic"):
        assert f"| {title} " in text
    for name in ("trade_off.png", "thumbnails.png", "detections.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000 and name in text
    for seed in (1, 2):
        assert (tmp_path / "out" / f"seed{seed}" / "report.md").is_file()

    capsys.readouterr()
    reproduce(benchmark, tmp_path / "out", [1, 2], overrides=TINY)
    assert capsys.readouterr().out.count("done before") >= 4


def test_bad_arguments_end_the_program(capsys):
    with pytest.raises(SystemExit):
        main(["thumbdet", "--output", "x", "--seeds", "0"])
    assert "at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["thumbdit", "--output", "x"])
    assert "thumbdet" in capsys.readouterr().err
