"""Batch norm in its variants: frozen, synchronised by hand, one per feature level; channel norm.

Features are (N, C, H, W). Parameter and buffer names are part of the checkpoint format.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lowres_d2.level_turns import LevelTurns

import torch
from detectron2.utils import comm
from fvcore.nn.distributed import differentiable_all_reduce
from torch import Tensor, nn
from torch.nn import functional as F

BatchNorm2d = nn.BatchNorm2d


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine parameters are constants.

    Attributes:
        weight: (C,), 1 at the start; like the others a buffer, so never trained.
        bias: (C,), 0 at the start.
        running_mean: (C,), 0 at the start.
        running_var: (C,), such that the layer is the identity at the start.
    """

    _version = 3

    def __init__(self, num_features: int, eps: float = 1e-5):
        """Make the identity.

        Args:
            num_features: channels C.
            eps: added to the variance.
        """
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)
        # Carried along only, from and to the batch norm that this is converted from or to.
        self.register_buffer("num_batches_tracked", None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if not x.requires_grad:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # Where a gradient is needed: as one affine map, whose backward keeps nothing but the scale
        # (batch_norm's would compute unused gradients of weight and bias too).
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * _per_channel(scale).to(x.dtype) + _per_channel(shift).to(x.dtype)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        version = local_metadata.get("version")
        if version is None or version < 2:
            # Such files may hold the affine parameters only.
            state_dict.setdefault(prefix + "running_mean", torch.zeros_like(self.running_mean))
            state_dict.setdefault(prefix + "running_var", torch.ones_like(self.running_var))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def __repr__(self) -> str:
        return f"FrozenBatchNorm2d(num_features={self.num_features}, eps={self.eps})"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Replace every (synchronised) batch norm in `module` by a frozen one, in place.

        Returns:
            `module`, or the frozen norm that takes its place if it was one.
        """
        kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
        return _replace(module, kinds, partial(_copy_norm, kind=cls))

    @classmethod
    def convert_frozenbatchnorm2d_to_batchnorm2d(cls, module: nn.Module) -> nn.Module:
        """Replace every frozen norm in `module` by a trainable batch norm, in place.

        Returns:
            `module`, or the batch norm that takes its place if it was one.
        """
        return _replace(module, cls, partial(_copy_norm, kind=nn.BatchNorm2d))


def _per_channel(values: Tensor) -> Tensor:
    return values.reshape(1, -1, 1, 1)


def _copy_norm(norm: Any, kind: type[nn.Module]) -> nn.Module:
    copy = kind(norm.num_features, eps=norm.eps).to(norm.running_mean.device)
    for name in ("weight", "bias", "running_mean", "running_var"):
        values = getattr(norm, name)
        if values is not None:
            getattr(copy, name).data = values.detach().clone()
    copy.num_batches_tracked = norm.num_batches_tracked
    return copy


def _replace(
    module: nn.Module, kinds: Any, replacement: Callable[[nn.Module], nn.Module]
) -> nn.Module:
    if isinstance(module, kinds):
        return replacement(module)
    for name, child in module.named_children():
        new_child = _replace(child, kinds, replacement)
        if new_child is not child:
            setattr(module, name, new_child)
    return module


def get_norm(norm: str | Callable[[int], nn.Module] | None, out_channels: int) -> nn.Module | None:
    """Make a norm layer.

    Args:
        norm: one of "BN", "SyncBN", "FrozenBN", "GN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N",
            "LN"; a callable that takes the number of channels; None or "" for no norm.
        out_channels: channels.
    """
    if norm is None or norm == "":
        return None
    if not isinstance(norm, str):
        return norm(out_channels)
    if norm not in _NORMS:
        raise KeyError(f"norm {norm!r}: expected one of {', '.join(_NORMS)}, or a callable")
    return _NORMS[norm](out_channels)


class NaiveSyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes, by plain all-reduce of the moments.

    Unlike `torch.nn.SyncBatchNorm` it runs on any device and, with `stats_mode="N"`, for unequal
    and empty batches.
    """

    def __init__(self, *args: Any, stats_mode: str = "", **kwargs: Any):
        """Take the arguments of `torch.nn.BatchNorm2d` and the way of averaging.

        Args:
            *args: of `torch.nn.BatchNorm2d`.
            stats_mode: "" gives each process the same weight, "N" each sample.
            **kwargs: of `torch.nn.BatchNorm2d`.
        """
        super().__init__(*args, **kwargs)
        if stats_mode not in ("", "N"):
            raise ValueError(f"NaiveSyncBatchNorm: stats_mode={stats_mode!r}, expected '' or 'N'")
        self._stats_mode = stats_mode

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, H, W) by the statistics of all processes."""
        if not self.training or comm.get_world_size() == 1:
            return super().forward(input)
        x = input.float() if input.dtype == torch.float16 else input
        mean, square, momentum = self._synced_moments(x)
        var = square - mean * mean
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - mean * scale
        with torch.no_grad():
            self.running_mean += momentum * (mean - self.running_mean)
            self.running_var += momentum * (var - self.running_var)
        return (x * _per_channel(scale) + _per_channel(shift)).to(input.dtype)

    def _synced_moments(self, x: Tensor) -> tuple[Tensor, Tensor, float | Tensor]:
        """Mean and mean square (C,) over all processes, and the momentum of this update."""
        if self._stats_mode == "":
            assert x.shape[0] > 0, "NaiveSyncBatchNorm needs stats_mode='N' for an empty batch"
            moments = torch.cat([x.mean(dim=(0, 2, 3)), (x * x).mean(dim=(0, 2, 3))])
            mean, square = (differentiable_all_reduce(moments) / comm.get_world_size()).chunk(2)
            return mean, square, self.momentum
        # Weighted by batch size, which travels along as one more entry.
        size, cells = x.shape[0], max(x.shape[2] * x.shape[3], 1)
        sums = [x.sum(dim=(0, 2, 3)) / cells, (x * x).sum(dim=(0, 2, 3)) / cells]
        totals = differentiable_all_reduce(torch.cat([*sums, x.new_full((1,), float(size))]))
        total_size = totals[-1].detach()
        mean, square = (totals[:-1] / total_size.clamp(min=1)).chunk(2)
        # No samples anywhere: the running statistics stay.
        return mean, square, total_size.clamp(max=1) * self.momentum


class CycleBatchNormList(nn.ModuleList):
    """Batch norms used in turn, one call each; they share weight and bias.

    For a head that runs over the feature levels in a fixed order: statistics differ by level. Each
    thread has turns of its own, which `start_levels` starts.
    """

    def __init__(self, length: int, bn_class: type[nn.Module] = nn.BatchNorm2d, **kwargs: Any):
        """Make the norms.

        Args:
            length: number of norms, that is of calls in a cycle.
            bn_class: class of the norms.
            **kwargs: of `bn_class`; `affine=False` leaves out the shared weight and bias.
        """
        self._affine = kwargs.pop("affine", True)
        super().__init__(bn_class(**kwargs, affine=False) for _ in range(length))
        channels = self[0].num_features
        self.weight = nn.Parameter(torch.ones(channels)) if self._affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if self._affine else None
        self.turns = LevelTurns()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) by the next norm."""
        x = self[self.turns.take(len(self))](x)
        if not self._affine:
            return x
        return x * _per_channel(self.weight) + _per_channel(self.bias)

    def extra_repr(self) -> str:
        return f"affine={self._affine}"


class LayerNorm(nn.Module):
    """Layer norm over the channels of (N, C, H, W), each cell on its own (ConvNeXt's)."""

    def __init__(self, normalized_shape: int, eps: float = 1e-6):
        """Make the norm.

        Args:
            normalized_shape: channels C.
            eps: added to the variance.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.ones(normalized_shape))
        self.bias = nn.Parameter(torch.zeros(normalized_shape))
        self.eps = eps
        self.normalized_shape = (normalized_shape,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        var, mean = torch.var_mean(x, dim=1, keepdim=True, correction=0)
        x = (x - mean) / torch.sqrt(var + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": partial(nn.GroupNorm, 32),
    "nnSyncBN": nn.SyncBatchNorm,
    "naiveSyncBN": NaiveSyncBatchNorm,
    "naiveSyncBN_N": partial(NaiveSyncBatchNorm, stats_mode="N"),
    "LN": LayerNorm,
}
