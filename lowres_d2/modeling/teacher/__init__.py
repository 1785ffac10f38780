"""The frozen teacher and the taps that read features out of networks."""

from lowres_d2.modeling.teacher.cache import TeacherCache
from lowres_d2.modeling.teacher.tap import Tap, TapRecorder
from lowres_d2.modeling.teacher.teacher import Teacher

__all__ = ["Tap", "TapRecorder", "Teacher", "TeacherCache"]
