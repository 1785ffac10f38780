"""A backbone of blocks in a row, some of which end a stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from detectron2.modeling import Backbone
from jaxtyping import Float
from torch import Tensor, nn


class StagedBackbone(Backbone):
    """Base class: which blocks end a stage whose features are asked for.

    A subclass builds its layers up to block ``last_block``, and sets ``_out_feature_channels``.

    Args:
        out_features: names of the stages that ``forward`` returns.
        ends: index of the last block of each stage, finest first.
        first_stride: stride of the first stage; that of each next one is twice as large.

    Raises:
        ValueError: ``out_features`` is empty or has an unknown stage.
    """

    def __init__(
        self, out_features: Sequence[str], ends: Mapping[str, int], first_stride: int = 4
    ) -> None:
        super().__init__()
        unknown = [name for name in out_features if name not in ends]
        if unknown or not out_features:
            raise ValueError(f"out_features={[*out_features]}: expected some of {', '.join(ends)}")
        self._out_features = sorted(out_features)  # by name is finest first
        self._ends = {ends[name]: name for name in self._out_features}
        strides = {name: first_stride * 2**k for k, name in enumerate(ends)}
        self._out_feature_strides = {name: strides[name] for name in out_features}

    @property
    def last_block(self) -> int:
        """Index of the last block that is needed."""
        return max(self._ends)

    def features_of(
        self, blocks: Iterable[nn.Module], x: Float[Tensor, "N C H W"]
    ) -> dict[str, Float[Tensor, "N _C _h _w"]]:
        """Feature maps of the stages in ``out_features``, finest first."""
        outputs = {}
        for index, block in enumerate(blocks):
            x = block(x)
            if index in self._ends:
                outputs[self._ends[index]] = x
        return outputs


def check_stage(stage: str, stages: Iterable[str]) -> None:
    """Raise if there is no such stage.

    Raises:
        ValueError: names the stages.
    """
    if stage not in stages:
        raise ValueError(f"stage={stage!r}: expected one of {', '.join(stages)}")
