import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.layers import CycleBatchNormList, FrozenBatchNorm2d, NaiveSyncBatchNorm, get_norm
from detectron2.layers.batch_norm import LayerNorm
from torch import nn


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BN", nn.BatchNorm2d),
        ("SyncBN", nn.SyncBatchNorm),
        ("FrozenBN", FrozenBatchNorm2d),
        ("GN", nn.GroupNorm),
        ("nnSyncBN", nn.SyncBatchNorm),
        ("naiveSyncBN", NaiveSyncBatchNorm),
        ("naiveSyncBN_N", NaiveSyncBatchNorm),
        ("LN", LayerNorm),
        (nn.InstanceNorm2d, nn.InstanceNorm2d),
    ],
)
def test_get_norm_by_name_or_callable(name, kind):
    assert type(get_norm(name, 64)) is kind


@pytest.mark.parametrize("name", ["", None])
def test_no_norm(name):
    assert get_norm(name, 64) is None


def test_unknown_norm():
    with pytest.raises(KeyError):
        get_norm("BatchNorm", 64)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_frozen_norm_is_batch_norm_in_evaluation(requires_grad):
    norm = randomised(nn.BatchNorm2d(5)).eval()
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(norm).train()
    x = torch.randn(2, 5, 4, 3, requires_grad=requires_grad)
    torch.testing.assert_close(frozen(x), norm(x))
    if requires_grad:
        gradients = [torch.autograd.grad(m(x).square().sum(), x)[0] for m in (frozen, norm)]
        torch.testing.assert_close(*gradients)


def test_frozen_norm_starts_as_identity_and_trains_nothing():
    frozen = FrozenBatchNorm2d(4)
    x = torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(frozen(x), x)
    assert list(frozen.parameters()) == []
    assert sorted(frozen.state_dict()) == ["bias", "running_mean", "running_var", "weight"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_frozen_norm_keeps_half_precision_under_gradient(dtype):
    x = torch.ones(1, 4, 2, 2, dtype=dtype, requires_grad=True)
    assert FrozenBatchNorm2d(4)(x).dtype == dtype


def test_conversion_walks_the_tree_and_back():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.SyncBatchNorm(3), nn.ReLU()))
    randomised(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = FrozenBatchNorm2d.convert_frozen_batchnorm(model)
    assert [type(m) for m in frozen.modules()].count(FrozenBatchNorm2d) == 2
    thawed = FrozenBatchNorm2d.convert_frozenbatchnorm2d_to_batchnorm2d(frozen)
    assert [type(m) for m in thawed.modules()].count(nn.BatchNorm2d) == 2
    assert all(torch.equal(state[name], value) for name, value in thawed.state_dict().items())


def test_frozen_norm_loads_old_files_without_statistics():
    frozen = FrozenBatchNorm2d(2)
    frozen.load_state_dict({"weight": torch.full((2,), 3.0), "bias": torch.ones(2)})
    assert frozen.running_mean.tolist() == [0, 0] and frozen.running_var.tolist() == [1, 1]


def test_cycled_norms_take_turns_and_share_the_affine_part():
    norms = CycleBatchNormList(2, num_features=3)
    assert {"weight", "bias", "0.running_mean", "1.running_var"} <= set(norms.state_dict())
    assert [name for name, _ in norms.named_parameters()] == ["weight", "bias"]
    low, high = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5) + 10
    for _ in range(2):
        norms(low), norms(high)
    assert norms[0].running_mean.max() < 1 < norms[1].running_mean.min()


def test_layer_norm_is_over_channels():
    norm = randomised(LayerNorm(6))
    x = torch.randn(2, 6, 3, 4)
    expected = nn.functional.layer_norm(
        x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, eps=1e-6
    ).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("mode", ["", "N"])
def test_naive_sync_norm_of_one_process_is_batch_norm(mode):
    norm, plain = NaiveSyncBatchNorm(3, stats_mode=mode), nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(norm(x), plain(x))
    torch.testing.assert_close(norm.running_var, plain.running_var)
