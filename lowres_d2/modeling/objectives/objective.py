"""The protocol of extra losses.

An objective turns one ``ObjectiveContext`` into named raw losses. The composition weights and logs
them; it runs objectives in float32, outside autocast. Parameters of an objective are trained and
saved under ``objectives.<name>`` and dropped at deployment.
"""

from __future__ import annotations

from lowres_d2.modeling.teacher import Tap
from lowres_d2.structures import ObjectiveContext

from torch import Tensor, nn


class Objective(nn.Module):
    """Base of all objectives.

    Args:
        name: group of its losses: they are called ``<name>/<loss>`` in patterns and diagnostics,
            and ``loss_<name>_<loss>`` among the losses of the model.

    Attributes:
        student_taps: what it reads of the detector.
        teacher_taps: what it reads of the teacher.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not name.isidentifier():
            raise ValueError(f"objective name {name!r}: expected letters, digits and underscores")
        self.name = name
        self.student_taps: tuple[Tap, ...] = ()
        self.teacher_taps: tuple[Tap, ...] = ()

    def forward(self, context: ObjectiveContext) -> dict[str, Tensor]:
        """Raw losses, scalars by name."""
        raise NotImplementedError
