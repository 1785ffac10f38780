"""The interface of extra losses.

An objective computes named raw losses from one ``ObjectiveContext``. ``LowResDetector`` weights and
logs them; it runs objectives in float32, outside autocast. Parameters of an objective are trained,
stored in checkpoints under ``objectives.<name>``, and dropped at deployment.
"""

from __future__ import annotations

from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext

from jaxtyping import Float
from torch import Tensor, nn


class Objective(nn.Module):
    """Base of all objectives.

    Args:
        name: group of its losses: they are called ``<name>/<loss>`` in loss patterns and metrics,
            and ``loss_<name>_<loss>`` among the losses of the model.

    Attributes:
        student_taps: places of the detector whose features it needs.
        teacher_taps: places of the teacher whose features it needs.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not name.isidentifier():
            raise ValueError(f"objective name {name!r}: expected letters, digits and underscores")
        self.name = name
        self.student_taps: tuple[Tap, ...] = ()
        self.teacher_taps: tuple[Tap, ...] = ()

    def forward(self, context: ObjectiveContext) -> dict[str, Float[Tensor, ""]]:
        """Raw losses by name."""
        raise NotImplementedError
