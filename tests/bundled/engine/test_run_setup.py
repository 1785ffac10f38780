import argparse

import lowres_d2

import pytest
import torch
from detectron2.config import LazyConfig
from detectron2.engine import (
    create_ddp_model,
    default_argument_parser,
    default_setup,
    default_writers,
    launch,
)
from omegaconf import OmegaConf
from torch import nn


@pytest.fixture
def restored_benchmark():
    benchmark = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = benchmark


def make_recipe(folder):
    return OmegaConf.create(
        {"train": {"output_dir": str(folder), "seed": 7, "cudnn_benchmark": True}}
    )


def test_flags_and_overrides_are_parsed():
    parser = default_argument_parser()
    args = parser.parse_args(
        ["--config-file", "a.py", "--num-gpus", "2", "train.max_iter=5", "a=b"]
    )
    assert (args.config_file, args.num_gpus, args.opts) == ("a.py", 2, ["train.max_iter=5", "a=b"])
    assert not args.resume and not args.eval_only
    assert (args.num_machines, args.machine_rank) == (1, 0)
    assert args.dist_url.startswith("tcp://127.0.0.1:")
    assert args.dist_url == default_argument_parser().parse_args([]).dist_url


def test_default_setup_records_the_run_and_seeds_it(tmp_path, restored_benchmark):
    recipe = make_recipe(tmp_path / "out")
    source = tmp_path / "recipe.py"
    source.write_text("train = {}\n")
    draws = []
    for _ in range(2):
        default_setup(recipe, argparse.Namespace(config_file=str(source), eval_only=False))
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.backends.cudnn.benchmark
    assert (tmp_path / "out" / "log.txt").is_file()
    assert LazyConfig.load(str(tmp_path / "out" / "config.yaml")).train.seed == 7


def test_default_setup_leaves_the_kernel_search_off_for_evaluation(tmp_path, restored_benchmark):
    torch.backends.cudnn.benchmark = False
    default_setup(make_recipe(tmp_path), argparse.Namespace(config_file="", eval_only=True))
    assert not torch.backends.cudnn.benchmark


def test_default_writers_make_their_folder(tmp_path):
    names = [type(w).__name__ for w in default_writers(str(tmp_path / "new"), max_iter=3)]
    assert names == ["CommonMetricPrinter", "JSONWriter", "TensorboardXWriter"]
    assert (tmp_path / "new").is_dir()


def test_one_process_needs_no_wrapper_and_no_group():
    model = nn.Linear(1, 1)
    assert create_ddp_model(model) is model
    seen = []
    launch(seen.append, 1, args=(3,))
    assert seen == [3]


def train_in_group(folder):
    """Two ranks with different data: DDP averages their gradients."""
    from detectron2.utils import comm

    torch.set_num_threads(1)
    model = create_ddp_model(nn.Linear(1, 1, bias=False))
    rank = comm.get_rank()
    model(torch.tensor([[1.0 + rank]])).sum().backward()
    gradient = model.module.weight.grad.item()
    torch.save([rank, comm.get_local_rank(), gradient], f"{folder}/{rank}.pt")
    comm.synchronize()


@pytest.mark.slow
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="processes take a GPU each where there is one"
)
@pytest.mark.skipif(lowres_d2.detectron2_provider() != "bundled", reason="upstream DDP needs GPUs")
def test_two_cpu_processes_average_their_gradients(tmp_path):
    launch(train_in_group, 2, dist_url="auto", args=(str(tmp_path),))
    seen = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    assert seen == [[0, 0, 1.5], [1, 1, 1.5]]


def test_auto_address_is_for_one_machine():
    with pytest.raises((ValueError, AssertionError)):
        launch(print, 2, num_machines=2, dist_url="auto")
