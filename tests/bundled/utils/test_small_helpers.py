import logging
import os
import pickle
import random
import subprocess
import sys

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from detectron2.utils.analysis import (
    FlopCountAnalysis,
    activation_count_operators,
    find_unused_parameters,
    flop_count_operators,
)
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.colormap import colormap, random_color, random_colors
from detectron2.utils.develop import create_dummy_class, create_dummy_func
from detectron2.utils.env import fixup_module_metadata, seed_all_rng, setup_custom_environment
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import (
    create_small_table,
    log_every_n,
    log_every_n_seconds,
    log_first_n,
    setup_logger,
)
from detectron2.utils.memory import retry_if_cuda_oom
from detectron2.utils.registry import Registry, _convert_target_to_string, locate
from detectron2.utils.serialize import PicklableWrapper
from detectron2.utils.testing import assert_instances_allclose
from torch import nn

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
bundled_only = pytest.mark.skipif(not BUNDLED, reason="about the bundled core")


class Picky(nn.Module):
    """Takes Detectron2's inputs and gives Detectron2's outputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs):
        x = self.conv(torch.stack([x["image"] for x in inputs]))
        if self.training:
            return {"loss": x.mean()}
        boxes = x.mean(dim=(2, 3))
        return [{"instances": Instances((8, 8), pred_boxes=Boxes(boxes), scores=boxes[:, 0])}]


def test_counts_of_detectron2_models():
    model, inputs = Picky(), [{"image": torch.rand(3, 8, 8), "file_name": "x"}]
    assert flop_count_operators(model, inputs)["conv"] == pytest.approx(3 * 4 * 64 / 1e9)
    assert activation_count_operators(model, inputs)["conv"] == pytest.approx(4 * 64 / 1e6)
    assert model.training
    by_module = FlopCountAnalysis(model.eval(), inputs).by_module()
    assert by_module["model.conv"] == 3 * 4 * 64


def test_unused_parameters_are_named():
    inputs = [{"image": torch.rand(3, 8, 8)}]
    assert find_unused_parameters(Picky(), inputs) == ["unused.weight", "unused.bias"]


def test_seeding_covers_three_generators():
    draws = []
    for _ in range(2):
        seed_all_rng(3)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))  # noqa: NPY002
    assert draws[0] == draws[1]


def test_names_and_objects():
    assert _convert_target_to_string(ShapeSpec) == "detectron2.layers.ShapeSpec"
    assert locate("detectron2.layers.ShapeSpec") is ShapeSpec
    assert locate("torch.optim.SGD") is torch.optim.SGD
    with pytest.raises(ImportError):
        locate("torch.no_such_name")
    registry = Registry("THINGS")
    registry.register(ShapeSpec)
    assert registry.get("ShapeSpec") is ShapeSpec


@pytest.mark.parametrize("use", [lambda thing: thing(), lambda thing: thing.attribute])
def test_stand_ins_name_the_missing_package(use):
    with pytest.raises(ImportError, match="package"):
        use(create_dummy_class("Thing", "package"))
    with pytest.raises(ImportError, match="package"):
        create_dummy_func("thing", "package")()


def test_metadata_of_public_names(monkeypatch):
    monkeypatch.setattr("detectron2.utils.env.DOC_BUILDING", True)
    namespace = {"Own": type("Own", (), {"__module__": "detectron2.deep"}), "array": np.array}
    fixup_module_metadata("detectron2", namespace)
    assert namespace["Own"].__module__ == "detectron2" and np.array.__module__ == "numpy"


def test_logger_writes_a_file_once(tmp_path, capsys):
    for _ in range(2):
        logger = setup_logger(str(tmp_path), name="bundled_logger_test", color=False)
    logger.getChild("part").warning("hello")
    setup_logger(str(tmp_path / "x.log"), 1, name="bundled_logger_test_rank").info("quiet")
    assert capsys.readouterr().out.count("hello") == 1
    assert (tmp_path / "log.txt").read_text().count("hello") == 1
    assert "quiet" in (tmp_path / "x.log.rank1").read_text()


COLOUR_SCRIPT = """
import lowres_d2
from detectron2.utils.logger import setup_logger
setup_logger({folder!r}, name="colour_test").warning("hello")
"""


@pytest.mark.parametrize(("forced", "codes"), [("0", 0), ("1", 2)])
def test_redirected_lines_have_no_colour_codes(tmp_path, forced, codes):
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    if forced == "1":
        environment["FORCE_COLOR"] = "1"
    command = [sys.executable, "-c", COLOUR_SCRIPT.format(folder=str(tmp_path))]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "WARNING" in run.stdout and "hello" in run.stdout
    assert run.stdout.count("\x1b[0m") == codes
    assert "\x1b" not in (tmp_path / "log.txt").read_text()


def test_messages_that_come_rarely(caplog):
    with caplog.at_level(logging.INFO):
        for k in range(5):
            log_first_n(logging.INFO, f"first {k}", 2, name="rare")
            log_first_n(logging.INFO, "same", 1, name="rare", key="message")
            log_every_n(logging.INFO, f"every {k}", 3, name="rare")
            log_every_n_seconds(logging.INFO, f"seconds {k}", 100, name="rare")
        log_first_n(logging.INFO, "same", 1, name="rare", key="message")
    said = sorted(caplog.messages)
    assert said == ["every 0", "every 3", "first 0", "first 1", "same", "seconds 0"]


def test_small_table():
    cells = [cell.strip() for cell in create_small_table({"AP": 1.5, "AP50": 2}).split("|")]
    assert cells[1:3] == ["AP", "AP50"]


def test_only_memory_errors_are_tried_again():
    calls = []

    @retry_if_cuda_oom
    def fails_twice(x):
        calls.append(x)
        if len(calls) < 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return x + 1

    assert fails_twice(torch.tensor(1)).item() == 2 and len(calls) == 3
    with pytest.raises(ZeroDivisionError):
        retry_if_cuda_oom(lambda: 1 / 0)()


def test_lambdas_pickle():
    twin = pickle.loads(pickle.dumps(PicklableWrapper(PicklableWrapper(lambda x: x + 1))))
    assert twin(2) == 3


def test_paths(tmp_path):
    with PathManager.open(str(tmp_path / "a.txt"), "w") as file:
        file.write("x")
    assert PathManager.isfile(str(tmp_path / "a.txt"))
    handlers = [type(h).__name__ for h in PathManager._path_handlers.values()]
    assert "Detectron2Handler" in handlers


@bundled_only
def test_addresses_of_the_first_detectron_are_refused():
    with pytest.raises(NotImplementedError, match=r"catalog://.*R-50.*needs upstream Detectron2"):
        PathManager.get_local_path("catalog://ImageNetPretrained/MSRA/R-50")
    with pytest.raises(NotImplementedError, match="needs upstream Detectron2"):
        PathManager.open("catalog://35857197/e2e_faster_rcnn_R-50-C4_1x")


# Measured on upstream.
@pytest.mark.parametrize(
    ("index", "color"),
    [
        (0, [0.0, 0.447, 0.741]),
        (6, [0.635, 0.078, 0.184]),
        (8, [0.6, 0.6, 0.6]),
        (11, [0.749, 0.749, 0.0]),
        (14, [0.667, 0.0, 1.0]),
        (15, [0.333, 0.333, 0.0]),
        (24, [0.0, 0.333, 0.5]),
        (38, [1.0, 1.0, 0.5]),
        (52, [1.0, 0.667, 1.0]),
        (53, [0.333, 0.0, 0.0]),
        (58, [0.0, 0.167, 0.0]),
        (69, [0.0, 0.0, 1.0]),
        (71, [0.143, 0.143, 0.143]),
        (73, [1.0, 1.0, 1.0]),
    ],
)
def test_colours_are_those_of_upstream(index, color):
    np.testing.assert_allclose(colormap(rgb=True, maximum=1)[index], color, atol=1e-6)
    np.testing.assert_allclose(colormap()[index][::-1], np.multiply(color, 255), atol=1e-3)


@pytest.mark.parametrize("maximum", [1, 255])
def test_random_colours_are_of_the_map(maximum):
    colours = colormap(rgb=True, maximum=maximum)
    assert colours.shape == (74, 3) and colours.dtype == np.float32
    for color in [random_color(rgb=True, maximum=maximum), *random_colors(10, True, maximum)]:
        assert (np.abs(colours - color).max(axis=1) < 1e-4).any()


def test_environment_report_names_versions():
    report = collect_env_info()
    assert torch.__version__ in report and "detectron2" in report


def test_instances_are_compared_by_field():
    first = Instances((4, 4), boxes=Boxes([[0, 0, 100, 100]]), labels=torch.tensor([1]))
    second = Instances((4, 4), boxes=Boxes([[0, 0, 100, 100.0001]]), labels=torch.tensor([1]))
    assert_instances_allclose(first, second)
    second.boxes.tensor[0, 3] = 101
    with pytest.raises(AssertionError):
        assert_instances_allclose(first, second)


@bundled_only
def test_uncovered_names_import_but_do_not_work():
    from detectron2.evaluation.lvis_evaluation import LVISEvaluator
    from detectron2.export import TracingAdapter
    from detectron2.projects.point_rend import PointRendMaskHead
    from detectron2.structures import BitMasks, RotatedBoxes
    from detectron2.structures.masks import polygons_to_bitmask

    assert not isinstance(3, RotatedBoxes)

    class Head(PointRendMaskHead, nn.Module):
        pass

    tracker = locate("detectron2.tracking.bbox_iou_tracker.BBoxIOUTracker")
    functions = (TracingAdapter, polygons_to_bitmask, BitMasks.from_polygon_masks)
    for use in (*functions, Head, tracker, LVISEvaluator):
        with pytest.raises(NotImplementedError, match="needs upstream Detectron2"):
            use()
    with pytest.raises(ImportError):
        import detectron2.no_such_module  # noqa: F401


@bundled_only
def test_second_copy_of_the_core_is_refused():
    with pytest.raises(ImportError, match="import lowres_d2"):
        import lowres_d2.bundled.detectron2  # noqa: F401


@pytest.mark.parametrize("text", ["def setup_environment(): print('called')", "x = 1"])
def test_custom_environment_module_is_called(tmp_path, capsys, text):
    (tmp_path / "mine.py").write_text(text)
    if "def" in text:
        setup_custom_environment(str(tmp_path / "mine.py"))
        assert capsys.readouterr().out.split() == ["called"]
    else:
        with pytest.raises((ValueError, AssertionError)):
            setup_custom_environment(str(tmp_path / "mine.py"))
