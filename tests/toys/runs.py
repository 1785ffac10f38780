"""Toy runs: recipes, and overrides for them."""

PLAIN = "configs/own_data/full_fcos_small_own.py"
STAGED = "tests/toys/recipes/staged_distilled.py"

ANY_FACTOR = (
    "model._target_=lowres_d2.modeling.meta_arch.AnyFactorDetector",
    "model.resampler._target_=lowres_d2.modeling.resample.AnyFactor",
    "+model.resampler.resamplers=[{_target_: lowres_d2.modeling.resample.Identity},"
    "{_target_: lowres_d2.modeling.resample.LearnedDownsampler, factor: 2}]",
    "+model.resampler.factor=2",
)  # overrides that make a toy run's detector one for factors 1 and 2


def run_overrides(json_file, iterations, log_period):
    """Overrides of an own-data recipe: a run in this process, on the CPU, without evaluation."""
    return [
        f"data.train_json={json_file}",
        f"data.val_json={json_file}",
        "train.device=cpu",
        f"train.max_iter={iterations}",
        "train.eval_period=0",
        f"train.log_period={log_period}",
        "dataloader.train.total_batch_size=2",
        "dataloader.train.num_workers=0",
        "dataloader.test.num_workers=0",
    ]
