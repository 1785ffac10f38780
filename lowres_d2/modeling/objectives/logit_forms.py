"""Distances between the class logits of student and teacher, called forms.

softmax  KL(softmax(t / T) || softmax(s / T)): ThumbDet, Eq. 6 and 7. A factor T^2, which they do
         not have, would keep the scale of the gradient (Hinton et al., "Distilling the knowledge in
         a neural network", 2015, Sec. 2).
sigmoid  the same with a Bernoulli distribution for each class, summed over classes: heads trained
         with focal loss have independent classes, and a softmax over them ignores background.
focal    |p_t - p_s|^b BCE(p_s, p_t), summed over classes: the quality focal loss (Li et al.,
         "Generalized Focal Loss", 2020, Eq. 5) with the teacher's probability as the quality, which
         is how Yang et al. ("Bridging Cross-task Protocol Inconsistency for Distillation in Dense
         Object Detection", 2023) distil dense heads. Easy background has almost no weight, so that
         no filter is needed.

s and t are the logits of student and teacher, p_s and p_t their sigmoid.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Form = Literal["softmax", "sigmoid", "focal"]
FORMS = ("softmax", "sigmoid", "focal")


def logit_distance(
    student: Float[Tensor, "pairs K"],
    teacher: Float[Tensor, "pairs K"],
    form: Form,
    temperature: float = 1.0,
    focus: float = 2.0,
    times_squared_temperature: bool = False,
) -> Float[Tensor, " pairs"]:
    """Distance of the logits of each pair of predictions; zero where they are equal.

    Args:
        student: its logits; with background where the head has a score for it.
        teacher: its logits for the same classes.
        form: which distance, see the head of this module.
        temperature: T of the forms ``softmax`` and ``sigmoid``.
        focus: exponent b of the form ``focal``.
        times_squared_temperature: multiply the forms ``softmax`` and ``sigmoid`` by T^2.
    """
    if form == "focal":
        goal = teacher.sigmoid()
        # Not detached: in Eq. 5 of Li et al. the gradient also flows through the weight.
        away = (goal - student.sigmoid()).abs().pow(focus)
        entropy = F.binary_cross_entropy_with_logits(student, goal, reduction="none")
        return (away * entropy).sum(dim=-1)
    student, teacher = student / temperature, teacher / temperature
    if form == "softmax":
        # Eq. 6: from the student to the teacher's distribution. Eq. 7 has the arguments in the
        # order of PyTorch's `kl_div`.
        log_goal, log_found = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
        divergence = F.kl_div(log_found, log_goal, reduction="none", log_target=True)
    else:
        # p_t (log p_t - log p_s) for the class, and the same for its absence.
        # `logsigmoid`: under a logit of about -104 a float32 sigmoid is 0, its log infinite.
        divergence = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
        absence = F.logsigmoid(-teacher) - F.logsigmoid(-student)
        divergence = divergence + (-teacher).sigmoid() * absence
    distance = divergence.sum(dim=-1)
    return distance * temperature**2 if times_squared_temperature else distance


def check_form(
    form: str, temperature: float, num_classes: int | None = None, filtered: bool = False
) -> None:
    """Raise if the form or the temperature makes no sense.

    Args:
        form: name of the distance.
        temperature: T.
        num_classes: number of classes, if known; a softmax needs two.
        filtered: whether background is filtered out; ``focal``, which needs no filter, is then not
            allowed.
    """
    forms = FORMS[:2] if filtered else FORMS
    if form not in forms:
        raise ValueError(f"form={form!r}: expected one of {', '.join(forms)}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature!r}: expected a positive number")
    if form == "softmax" and num_classes == 1:
        raise ValueError("form='softmax' over one class is always zero: use form='sigmoid'")
