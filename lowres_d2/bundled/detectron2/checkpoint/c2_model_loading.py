"""Weights under other names: Caffe2 Detectron's, and names that lack a model's prefixes.

Caffe2 Detectron puts the background class first, Detectron2 last; its box regression has four
outputs for the background, which Detectron2's has not.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch

logger = logging.getLogger(__name__)

# (pattern, replacement), each applied to the whole name, in this order.
BASIC_RULES = [
    (r"^pred_(b|w)$", r"linear_\1"),
    (r"_", "."),
    (r"\.b$", ".bias"),
    (r"\.w$", ".weight"),
    # Batch and group norm: s(cale), bias, r(unning) m(ean), r(unning) i(nverse) v(ariance).
    (r"[bg]n\.(s|gamma)$", "norm.weight"),
    (r"[bg]n\.(bias|beta)$", "norm.bias"),
    (r"bn\.(rm|running\.mean)$", "norm.running_mean"),
    (r"bn\.(riv|running\.var)$", "norm.running_var"),
    (r"^res\.conv1\.norm\.", "conv1.norm."),
    (r"^conv1\.", "stem.conv1."),
    (r"\.branch1\.", ".shortcut."),
    (r"\.branch2a\.", ".conv1."),
    (r"\.branch2b\.", ".conv2."),
    (r"\.branch2c\.", ".conv3."),
]

RPN = "proposal_generator.rpn_head"
# After BASIC_RULES. `fpn2`: one head for all levels carries the name of the finest.
DETECTOR_RULES = [
    (r"^conv\.rpn(\.fpn2)?\.", rf"{RPN}.conv."),
    (r"^rpn\.bbox\.pred(\.fpn2)?\.", rf"{RPN}.anchor_deltas."),
    (r"^rpn\.cls\.logits(\.fpn2)?\.", rf"{RPN}.objectness_logits."),
    (r"^bbox\.pred\.", "bbox_pred."),
    (r"^cls\.score\.", "cls_score."),
    (r"^fc6\.", "box_head.fc1."),
    (r"^fc7\.", "box_head.fc2."),
    (r"^head\.conv(\d)\.", r"box_head.conv\1."),
    (r"^fpn\.inner\.res(\d)(?:\.\w+)*?(\.norm)?\.(weight|bias)$", r"fpn_lateral\1\2.\3"),
    (r"^fpn\.res(\d)(?:\.\w+)*?(\.norm)?\.(weight|bias)$", r"fpn_output\1\2.\3"),
    (r"^\.?\[mask\]\.fcn(\d)\.", r"mask_head.mask_fcn\1."),
    (r"^conv5\.mask\.", "mask_head.deconv."),
    (r"^mask\.fcn\.logits\.", "mask_head.predictor."),
    (r"^conv\.fcn(\d)\.", r"keypoint_head.conv_fcn\1."),
    (r"^kps\.score\.lowres\.", "keypoint_head.score_lowres."),
]


def _rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def convert_basic_c2_names(original_keys: Iterable[str]) -> list[str]:
    """Caffe2 names of a backbone in Detectron2's form.

    ``res2_0_branch2a_w`` becomes ``res2.0.conv1.weight``.

    Args:
        original_keys: names in a Caffe2 file.
    """
    return [_rename(key, BASIC_RULES) for key in original_keys]


def convert_c2_detectron_names(
    weights: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Names and layout of Caffe2 Detectron's weights in Detectron2's form.

    Args:
        weights: tensors by their Caffe2 names.

    Returns:
        The tensors by their new names, and the old name of each new one.
    """
    converted, originals = {}, {}
    for original in sorted(weights):
        name = _rename(original, BASIC_RULES + DETECTOR_RULES)
        value = weights[original]
        if name.startswith("bbox_pred."):
            logger.info(f"{original}: the background's 4 outputs are dropped")
            value = value[4:]
        elif name.startswith("cls_score."):
            logger.info(f"{original}: the background moves from first to last")
            value = value.roll(-1, dims=0)
        if name in originals:
            raise ValueError(f"{originals[name]} and {original} both convert to {name}")
        converted[name], originals[name] = value, original
    return converted, originals


def align_and_update_state_dicts(
    model_state_dict: Mapping[str, torch.Tensor],
    ckpt_state_dict: Mapping[str, torch.Tensor],
    c2_conversion: bool = True,
) -> dict[str, torch.Tensor]:
    """Give each tensor of a checkpoint the name it has in the model.

    A name matches if the model's equals it or ends in ``.`` and it; the longest wins, so that
    ``res2.conv1.weight`` goes to ``backbone.res2.conv1.weight`` rather than ``conv1.weight`` does.

    Args:
        model_state_dict: the model's tensors by name.
        ckpt_state_dict: the checkpoint's.
        c2_conversion: rename from Caffe2 Detectron first.

    Returns:
        The checkpoint's tensors under the model's names; those that match none keep their own,
        those of another shape than the model's are not loaded.
    """
    if c2_conversion:
        ckpt_state_dict, originals = convert_c2_detectron_names(ckpt_state_dict)
    else:
        originals = {name: name for name in ckpt_state_dict}

    result: dict[str, torch.Tensor] = {}
    taken: dict[str, str] = {}  # checkpoint's name -> model's
    for name in sorted(model_state_dict):
        source = _longest_known_suffix(name, ckpt_state_dict)
        if source is None:
            continue
        value, shape = ckpt_state_dict[source], model_state_dict[name].shape
        if value.shape != shape:
            logger.warning(
                f"{originals[source]} is not loaded: its shape {tuple(value.shape)} is not the "
                f"{tuple(shape)} of {name} in the model"
            )
            continue
        if source in taken:
            raise ValueError(
                f"{originals[source]} in the checkpoint fits both {taken[source]} and {name} in "
                "the model"
            )
        taken[source], result[name] = name, value

    _log_matches(taken, originals, model_state_dict)
    result.update({name: ckpt_state_dict[name] for name in ckpt_state_dict if name not in taken})
    return result


def _longest_known_suffix(name: str, known: Mapping[str, torch.Tensor]) -> str | None:
    """The longest of ``a.b.c``, ``b.c`` and ``c`` that is known."""
    parts = name.split(".")
    suffixes = (".".join(parts[start:]) for start in range(len(parts)))
    return next((suffix for suffix in suffixes if suffix in known), None)


def _log_matches(
    taken: Mapping[str, str],
    originals: Mapping[str, str],
    model_state_dict: Mapping[str, torch.Tensor],
) -> None:
    """One line a module of the model: where its tensors come from, and their shapes."""
    modules = defaultdict(list)
    for source, name in taken.items():
        modules[name.rpartition(".")[0]].append((originals[source], name))
    lines = [f"{len(taken)} of the model's {len(model_state_dict)} tensors are in the checkpoint"]
    for module, pairs in modules.items():
        prefix = _longest_common_prefix_str([original for original, _ in pairs])
        ends = ",".join(original[len(prefix) :] for original, _ in pairs)
        shapes = " ".join(str(tuple(model_state_dict[name].shape)) for _, name in pairs)
        lines.append(f"  {module} <- {prefix}{{{ends}}} {shapes}")
    logger.info("\n".join(lines))


def _longest_common_prefix_str(names: Sequence[str]) -> str:
    return os.path.commonprefix(list(names))  # noqa: RUF071  # characters, not path parts
