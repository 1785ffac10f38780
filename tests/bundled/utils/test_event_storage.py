import json
import logging

import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
    has_event_storage,
)


def test_storages_nest():
    assert not has_event_storage()
    with pytest.raises(AssertionError):
        get_event_storage()
    with EventStorage() as outer, EventStorage(5) as inner:
        assert get_event_storage() is inner and inner.iter == inner.iteration == 5
        assert outer is not inner
    assert not has_event_storage()


def test_scalars_keep_value_iteration_and_history():
    with EventStorage() as storage:
        for value in (3, 1, 2):
            storage.put_scalar("a", torch.tensor(float(value)))
            storage.put_scalars(b=value, cur_iter=7, smoothing_hint=False)
            storage.step()
    assert storage.latest() == {"a": (2.0, 2), "b": (2.0, 7)}
    assert storage.history("a").values() == [(3.0, 0), (1.0, 1), (2.0, 2)]
    assert storage.smoothing_hints() == {"a": True, "b": False}
    assert storage.latest_with_smoothing_hint(3)["a"] == (2.0, 2)
    assert storage.latest_with_smoothing_hint(2)["a"] == (1.5, 2)
    assert sorted(storage.histories()) == ["a", "b"]
    with pytest.raises(KeyError):
        storage.history("c")


def test_window_counts_iterations_not_samples():
    with EventStorage() as storage:
        for k in range(20):
            if k % 3 == 0:
                storage.put_scalar("a", k)
            storage.step()
    assert storage.count_samples("a", 10) == 4  # 18, 15, 12, 9
    assert storage.count_samples("a", 100) == 7


def test_smoothing_hint_cannot_change():
    with EventStorage() as storage:
        storage.put_scalar("a", 1, smoothing_hint=True)
        with pytest.raises(AssertionError):
            storage.put_scalar("a", 1, smoothing_hint=False)


def test_name_scope_is_prefix_and_ends():
    storage = EventStorage()
    with storage.name_scope("head"):
        storage.put_scalar("a", 1)
    storage.put_scalar("a", 2)
    assert storage.latest() == {"head/a": (1.0, 0), "a": (2.0, 0)}


def test_json_has_one_line_per_iteration(tmp_path):
    file = tmp_path / "metrics.json"
    writer = JSONWriter(str(file), window_size=2)
    with EventStorage() as storage:
        for k in range(4):
            storage.put_scalar("loss", k)
            if k == 1:
                storage.put_scalar("rare", 10 * k, smoothing_hint=False)
            storage.step()
            if k in (1, 2, 3):
                writer.write()
    writer.close()
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"iteration": 1, "loss": 0.5, "rare": 10.0},
        {"iteration": 2, "loss": 1.5},
        {"iteration": 3, "loss": 2.5},
    ]


def test_tensorboard_gets_scalars_images_and_histograms(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = TensorboardXWriter(str(tmp_path))
    with EventStorage() as storage:
        storage.put_scalar("a", 3)
        storage.put_image("image", torch.zeros(3, 4, 5, dtype=torch.uint8))
        storage.put_histogram("h", torch.arange(10.0), bins=5)
        writer.write()
        writer.write()
    writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("a")] == [(0, 3.0)]
    assert len(events.Images("image")) == 1
    histogram = events.Histograms("h")[0].histogram_value
    assert (histogram.min, histogram.max, histogram.num, histogram.sum) == (0, 9, 10, 45)
    assert list(histogram.bucket) == [2, 2, 2, 2, 2]


def printed(caplog, printer) -> str:
    caplog.clear()
    logger = logging.getLogger("detectron2.utils.events")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level("INFO", logger="detectron2.utils.events"):
            printer.write()
    finally:
        logger.removeHandler(caplog.handler)
    return caplog.messages[0] if caplog.messages else ""


def test_printed_line(caplog):
    with EventStorage() as storage:
        printer = CommonMetricPrinter(max_iter=63)
        for _ in range(2):
            storage.put_scalars(time=2.0, data_time=0.5, total_loss=1.25, other=9)
            storage.put_scalar("[metric]head/recall", 0.5)
            storage.put_scalar("lr", 0.001, smoothing_hint=False)
            storage.step()
        line = printed(caplog, printer)
        for part in (
            "eta: 0:02:00",
            "iter: 2",
            "total_loss: 1.25",
            "[metric]head/recall: 0.5",
            "time: 2.0000",
            "data_time: 0.5000",
            "lr: 0.001",
        ):
            assert part in line
        assert "other" not in line
        assert storage.latest()["eta_seconds"][0] == 120
        storage.iter = 63
        assert printed(caplog, printer) == ""
