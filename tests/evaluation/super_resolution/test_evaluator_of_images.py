import json

from lowres_d2.data.datasets.sample import EvenSample
from lowres_d2.evaluation import SuperResolutionEvaluator
from lowres_d2.evaluation.shown import ShownMetrics
from lowres_d2.evaluation.super_resolution import psnr, ssim
from lowres_d2.modeling.meta_arch import SuperResolver
from lowres_d2.modeling.super_resolution import VDSR

import pytest
import torch
from torch import nn


def dataset(number=3):
    return [{"image_id": k + 1} for k in range(number)]


def outputs(number=3, side=16):
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(number, 3, side, side, generator=generator)
    made = (targets + 0.1 * torch.randn(targets.shape, generator=generator)).clamp(0, 1)
    return [
        {"super_resolved": a, "target": b, "bicubic": (a + b) / 2}
        for a, b in zip(made, targets, strict=True)
    ]


def evaluated(found, number=3, **arguments):
    evaluator = SuperResolutionEvaluator(dataset(number), **arguments)
    evaluator.process(dataset(number)[: len(found)], found)
    return evaluator


def test_metrics_are_means_over_images():
    found = outputs()
    results = evaluated(found).evaluate()["super_resolution"]
    made, targets = (torch.stack([x[k] for x in found]) for k in ("super_resolved", "target"))
    assert results["psnr"] == pytest.approx(psnr(made, targets).mean().item(), abs=1e-4)
    assert results["ssim"] == pytest.approx(100 * ssim(made, targets).mean().item(), abs=1e-3)
    # Half the difference: 20 log10 2.
    assert results["psnr-bicubic"] - results["psnr"] == pytest.approx(6.0206, abs=1e-3)


def test_a_network_that_makes_nan_has_no_metrics(caplog):
    found = outputs()
    found[1]["super_resolved"] = found[1]["super_resolved"].clone().fill_(float("nan"))
    evaluator = evaluated(found)
    assert set(evaluator.evaluate()["super_resolution"].values()) == {None}
    assert "for 1 of 3 images (such as image 2); there are no metrics" in caplog.text
    assert "not shown" not in caplog.text and "n/a" in evaluator.tables()


def test_images_of_one_id_are_refused():
    with pytest.raises(ValueError, match="the test set: 2 images have the image_id 1"):
        SuperResolutionEvaluator(dataset(1) * 2)


def test_an_untrained_vdsr_is_the_bicubic_image_of_the_report():
    network = VDSR(width=2, depth=2)
    for parameter in network.layers.parameters():
        nn.init.zeros_(parameter)
    sizes = (16, 16), (13, 18)
    inputs = [
        x | {"image": torch.rand(3, *s) * 255} for x, s in zip(dataset(2), sizes, strict=True)
    ]
    evaluator = SuperResolutionEvaluator(dataset(2))
    evaluator.process(inputs, SuperResolver(network).eval()(inputs))
    found = evaluator.evaluate()["super_resolution"]
    assert found["psnr"] == pytest.approx(found["psnr-bicubic"], abs=1e-3)
    assert found["ssim"] == pytest.approx(found["ssim-bicubic"], abs=1e-3)
    assert 5 < found["psnr"] < 30


def test_channels_and_borders_that_count():
    found = outputs(1)
    inner = [{key: value.clone() for key, value in found[0].items()}]
    inner[0]["super_resolved"][:, :2] = 0  # only pixels of the border, which do not count
    first, second = (
        evaluated(x, 1, border=2).evaluate()["super_resolution"] for x in (found, inner)
    )
    assert first == second
    # A change of colour that keeps the luminance.
    red, green = 65.481, 128.553
    shift = torch.tensor([green, -red, 0.0]).view(3, 1, 1) / 1000
    target = torch.full((3, 16, 16), 0.5)
    colour = [found[0] | {"target": target, "super_resolved": target + shift}]
    assert evaluated(colour, 1, channels="y").evaluate()["super_resolution"]["psnr"] > 99
    assert evaluated(colour, 1).evaluate()["super_resolution"]["psnr"] < 25
    with pytest.raises(ValueError, match=r"border=8: leaves nothing of images of 16x16"):
        evaluated(found, 1, border=8)
    with pytest.raises(ValueError, match=r"border=-1: expected a whole number, 0 or more"):
        evaluated(found, 1, border=-1)
    with pytest.raises(ValueError, match="channels='Y': expected rgb or y"):
        evaluated(found, 1, channels="Y")


def test_it_says_its_metrics_as_other_evaluators_do():
    evaluator = evaluated(outputs())
    shown = ShownMetrics.of(evaluator)
    columns = ("psnr", "ssim", "psnr-bicubic", "ssim-bicubic")
    assert shown.names == tuple(f"super_resolution/{name}" for name in columns)
    results = evaluator.evaluate()
    assert shown.accuracy(results) == results["super_resolution"]["psnr"]
    announced = evaluator.metric_objects()
    assert {name.split("/")[1] for name in announced} == results["super_resolution"].keys()
    assert set(announced.values()) == {3}
    assert evaluator.main_metric in announced


def test_each_images_metrics_are_written_and_shown(tmp_path):
    evaluator = evaluated(outputs(), output_dir=tmp_path)
    results = evaluator.evaluate()["super_resolution"]
    rows = json.loads((tmp_path / evaluator.predictions).read_text())
    assert [row["image_id"] for row in rows] == [1, 2, 3]
    assert sum(row["psnr"] for row in rows) / 3 == pytest.approx(results["psnr"])
    text = evaluator.tables()
    assert text.startswith("3 images, all channels (RGB), all pixels; means over images")
    assert f"{results['psnr']:.2f}" in text and f"{results['ssim-bicubic']:.2f}" in text
    other = evaluated(outputs(), channels="y", border=2)
    other.evaluate()
    assert "luminance (Y of BT.601), without 2 pixels at each border" in other.tables()


def test_images_that_were_not_shown_or_are_not_there(caplog):
    evaluator = evaluated(outputs(2))
    assert evaluator.evaluate()["super_resolution"]["psnr"] > 0
    assert "1 of 3 images were not shown to the model" in caplog.text
    evaluator.reset()
    nothing = evaluator.evaluate()["super_resolution"]
    assert set(nothing.values()) == {None} and "n/a" in evaluator.tables()
    evaluator.process([{"image_id": 9}], outputs(1))
    with pytest.raises(ValueError, match="a result for image 9, which the data set does not have"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match="the test set: has no images"):
        SuperResolutionEvaluator([])
    with pytest.raises(RuntimeError, match=r"call evaluate\(\) first"):
        SuperResolutionEvaluator(dataset()).tables()


def test_a_sample_of_a_data_set():
    evaluator = SuperResolutionEvaluator(EvenSample(dataset(4), 2))
    assert evaluator.metric_objects()["super_resolution/psnr"] == 2


def test_images_of_two_ranks_count_once(monkeypatch):
    from detectron2.utils import comm

    one, other = evaluated(outputs(2)), evaluated(outputs(3))
    monkeypatch.setattr(comm, "gather", lambda found, dst: [found, one._found])
    assert (
        other.evaluate()["super_resolution"] == evaluated(outputs(3)).evaluate()["super_resolution"]
    )
