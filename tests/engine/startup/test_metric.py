"""A metric that the evaluator does not report stops a run at its start."""

from lowres_d2.engine.startup.metric import check_metric
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.programs.sweep import main as sweep

import pytest
from detectron2.evaluation import DatasetEvaluator
from omegaconf import OmegaConf

from toys.one_line_errors import error_of


class Announcing(DatasetEvaluator):
    def __init__(self, **objects):
        self.objects = {f"bbox/{name.replace('_', '-')}": n for name, n in objects.items()}

    def metric_objects(self):
        return self.objects


def recipe(metric):
    return OmegaConf.create({"train": {"best": {"val_metric": metric}}})


def test_a_misspelt_metric_names_the_nearest():
    with pytest.raises(ValueError, match=r"^train\.best\.val_metric=bbox/AP-smal: .*bbox/AP-small"):
        check_metric(recipe("bbox/AP-smal"), Announcing(AP=3, AP_small=2))
    with pytest.raises(ValueError, match=r"it has bbox/AP, bbox/AP-small"):
        check_metric(recipe("x"), Announcing(AP=3, AP_small=2))


def test_a_metric_without_objects_is_refused():
    with pytest.raises(ValueError, match=r"AP-large: the test set has no object .*\(0 GT\)"):
        check_metric(recipe("bbox/AP-large"), Announcing(AP=3, AP_large=0))


@pytest.mark.parametrize(
    "evaluator",
    [Announcing(AP=3), Announcing(AP=0), DatasetEvaluator()],
    ids=["known", "a test set without objects", "an evaluator that does not say"],
)
def test_other_metrics_are_accepted(evaluator):
    assert check_metric(recipe("bbox/AP"), evaluator) is None


def test_the_best_of_an_error_is_the_smallest():
    class WithErrors(Announcing):
        is_error = staticmethod(SizedCOCOEvaluator.is_error)

    evaluator = WithErrors(AP=3, oLRP=3)
    cfg = recipe("bbox/oLRP")
    cfg.train.best.mode = "max"
    with pytest.raises(ValueError, match=r"bbox/oLRP: is an error, .*train\.best\.mode=min"):
        check_metric(cfg, evaluator)
    cfg.train.best.mode = "min"
    check_metric(cfg, evaluator)
    assert check_metric(recipe("bbox/AP"), evaluator) is None


def test_training_stops_before_its_first_iteration(toy_arguments, tmp_path, capsys):
    line = error_of([*toy_arguments, "train.best.val_metric=bbox/AP-smal"], capsys)
    assert "nearest: bbox/AP-small" in line
    assert not list((tmp_path / "run").glob("*.pth"))


def test_a_sweep_stops_before_its_first_evaluation(trained, tmp_path, capsys):
    weights, metric = f"train.init_checkpoint={trained.file}", "train.best.val_metric=bbox/AP-large"
    with pytest.raises(SystemExit):
        sweep([*trained.arguments(tmp_path), weights, metric])
    assert "0 GT" in capsys.readouterr().err
    assert not list(tmp_path.glob("resolution_*"))
