import os

import lowres_d2  # noqa: F401

import pytest
import torch
import torch.distributed as dist
from detectron2.layers import NaiveSyncBatchNorm
from detectron2.utils import comm


def test_one_process():
    assert (comm.get_world_size(), comm.get_rank(), comm.get_local_size()) == (1, 0, 1)
    assert comm.get_local_rank() == 0 and comm.is_main_process()
    comm.synchronize()
    assert comm.all_gather("a") == comm.gather("a") == ["a"]
    values = {"a": torch.tensor(3.0)}
    assert comm.reduce_dict(values) == values
    assert 0 <= comm.shared_random_seed() < 2**31


def exchange(arguments):
    """Of one of two processes: its part in what they exchange by way of a folder."""
    (folder,), rank = arguments, int(os.environ["SLURM_PROCID"])
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    comm.create_local_process_group(2)
    comm.synchronize()
    assert (comm.get_rank(), comm.get_local_rank(), comm.get_local_size()) == (rank, rank, 2)
    assert comm.is_main_process() == (rank == 0)
    assert comm.all_gather({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    assert comm.gather(rank) == ([0, 1] if rank == 0 else [])
    seed = comm.shared_random_seed()
    assert comm.all_gather(seed) == [seed, seed]
    reduced = comm.reduce_dict({"b": torch.tensor(rank + 1.0), "a": torch.tensor(4.0)})
    if rank == 0:
        assert reduced == {"a": 4.0, "b": 1.5}
    for mode, sizes in (("", (3, 3)), ("N", (1, 4)), ("N", (0, 2))):
        check_norm(rank, mode, sizes)
    dist.destroy_process_group()


def check_norm(rank, mode, sizes):
    """Two processes with a part each must do what one does with the whole."""
    whole = torch.randn(sum(sizes), 2, 3, 3, generator=torch.Generator().manual_seed(1))
    reference, norm = torch.nn.BatchNorm2d(2), NaiveSyncBatchNorm(2, stats_mode=mode)
    weights = torch.arange(whole.numel()).reshape(whole.shape) / whole.numel()
    whole.requires_grad_()
    (reference(whole) * weights).sum().backward()
    start = sum(sizes[:rank])
    mine = slice(start, start + sizes[rank])
    part = whole.detach()[mine].requires_grad_()
    output = norm(part)
    (output * weights[mine]).sum().backward()
    torch.testing.assert_close(output, reference(whole)[mine], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(part.grad, whole.grad[mine], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_mean * 1.9, reference.running_mean)


@pytest.mark.slow
def test_two_processes(ranks, tmp_path):
    ends = ranks.run("bundled.utils.test_processes:exchange", tmp_path)
    assert [end.code for end in ends] == [0, 0], ends[0].text + ends[1].text
