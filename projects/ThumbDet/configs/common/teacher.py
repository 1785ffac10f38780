"""The detector itself, at full resolution."""

from lowres_d2.modeling.teacher import Teacher

from detectron2.config import LazyCall as L

# A network of its own, built alike; each recipe says where its weights are.
teacher = L(Teacher)(model="${..detector}")
