"""Deformable DETR weights from the authors' repository or Hugging Face, renamed for this library.

Both were trained on RGB images with a backbone of torchvision, timm or Hugging Face, and use
COCO's category ids as classes: 91 rows, of which 80 are used. Every tensor of the file must have a
counterpart in the model, and vice versa. Tensors that a file has twice must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lowres_d2.modeling.deformable_detr.proposals import TwoStageQueries
from lowres_d2.modeling.meta_arch.deformable_detr import DeformableDETR

import torch
from torch import Tensor

Weights = dict[str, Tensor]

# Module names in the files, without the last part (weight, bias, running_mean) -> names here.
_BACKBONE = r"(?:backbone\.0\.body|model\.backbone(?:\.conv_encoder)?\.model)\."
_STEM = {
    "conv1": "stem.conv1",
    "bn1": "stem.conv1.norm",
    "embedder.embedder.convolution": "stem.conv1",
    "embedder.embedder.normalization": "stem.conv1.norm",
}
_IN_BLOCK = {
    "downsample.0": "shortcut",
    "downsample.1": "shortcut.norm",
    "shortcut.convolution": "shortcut",
    "shortcut.normalization": "shortcut.norm",
}
for _n in (1, 2, 3):
    _IN_BLOCK |= {f"conv{_n}": f"conv{_n}", f"layer.{_n - 1}.convolution": f"conv{_n}"}
    _IN_BLOCK |= {f"bn{_n}": f"conv{_n}.norm", f"layer.{_n - 1}.normalization": f"conv{_n}.norm"}
_ENCODER = r"(?:transformer|model)\.encoder\.(layers\.\d+)\."
_DECODER = r"(?:transformer|model)\.decoder\.(layers\.\d+)\."
_MODULES = {
    _ENCODER + r"self_attn\.(\w+)": r"encoder.\1.attention.\2",
    _ENCODER + r"(?:norm1|self_attn_layer_norm)": r"encoder.\1.norm",
    _ENCODER + r"(?:linear|(?:mlp\.)?fc)([12])": r"encoder.\1.feedforward.linear\2",
    _ENCODER + r"(?:norm2|final_layer_norm)": r"encoder.\1.feedforward.norm",
    _DECODER + r"self_attn": r"decoder.\1.self_attention",
    _DECODER + r"self_attn\.(?:out|o)_proj": r"decoder.\1.self_attention.out_proj",
    _DECODER + r"(?:norm2|self_attn_layer_norm)": r"decoder.\1.self_norm",
    _DECODER + r"(?:cross|encoder)_attn\.(\w+)": r"decoder.\1.attention.\2",
    _DECODER + r"(?:norm1|encoder_attn_layer_norm)": r"decoder.\1.norm",
    _DECODER + r"(?:linear|(?:mlp\.)?fc)([12])": r"decoder.\1.feedforward.linear\2",
    _DECODER + r"(?:norm3|final_layer_norm)": r"decoder.\1.feedforward.norm",
    r"transformer|model": "",  # level_embed
    r"(?:transformer|model)\.reference_points": "queries.reference_points",
    r"(?:transformer|model)\.enc_output": "queries.cell",
    r"(?:transformer|model)\.enc_output_norm": "queries.cell_norm",
    r"(?:transformer|model)\.pos_trans": "queries.position",
    r"(?:transformer|model)\.pos_trans_norm": "queries.position_norm",
}
_PROJECTION = re.compile(r"(?:model\.)?input_proj\.(\d+)\.([01])")
_HEAD = re.compile(r"(?:(?:transformer|model)\.decoder\.)?(class|bbox)_embed\.(\d+)(\.layers\.\d)?")
_QUERIES = ("query_embed.weight", "model.query_position_embeddings.weight")


def convert_deformable_detr(
    weights: Mapping[str, Tensor], model: DeformableDETR, classes: Sequence[int] | None = None
) -> Weights:
    """Rename, split and join weights so that ``model.load_state_dict`` takes them.

    Args:
        weights: tensors by name, as in the files of the authors or Hugging Face.
        model: model of the same variant and size as the weights.
        classes: rows of the class heads to keep, in the order of the model's classes: COCO's 80
            category ids for a model with COCO's classes. None keeps all.

    Raises:
        ValueError: the weights are of another variant, a tensor has no counterpart in the model
            or vice versa, shapes differ, or two tensors for one counterpart differ.
    """
    weights = {n: w for n, w in weights.items() if not n.endswith("num_batches_tracked")}
    _check_variant(weights, model)
    converted: Weights = {}
    unknown = []
    for name, tensor in _joined(weights).items():
        target = _target_name(name, model)
        if target is None:
            unknown.append(name)
            continue
        if classes is not None and "class_head" in target:
            tensor = tensor[_class_rows(tensor, target, classes)]
        if target in converted and not torch.equal(converted[target], tensor):
            raise ValueError(f"{name}: differs from another tensor for {target}, which is shared")
        converted[target] = tensor
    _repeat_shared_class_head(converted, model)
    _check_complete(converted, unknown, model)
    return converted


def _check_variant(weights: Mapping[str, Tensor], model: DeformableDETR) -> None:
    # Only files of the variant have these names: shared heads are not below the decoder.
    variants = {
        "with_box_refine": ("decoder.bbox_embed.", model.with_box_refine),
        "two_stage": (".enc_output.", isinstance(model.queries, TwoStageQueries)),
    }
    for key, (sign, of_model) in variants.items():
        of_weights = any(sign in name for name in weights)
        if of_weights != of_model:
            raise ValueError(
                f"the weights are of a model with {key}={of_weights}, this one has "
                f"{key}={of_model}: set the model's {key}"
            )


def _joined(weights: Mapping[str, Tensor]) -> Weights:
    """Join the three projections of self-attention, and split the queries' embedding in two."""
    joined: Weights = {}
    for name, tensor in weights.items():
        projection = re.fullmatch(
            r"(.*\.decoder\..*\.self_attn\.)([qkv])_proj\.(weight|bias)", name
        )
        # (Q, 2 C): both files have the position first, then the content.
        if name in _QUERIES:
            joined["queries.position"], joined["queries.content"] = tensor.chunk(2, dim=1)
        elif not projection:
            joined[name] = tensor
        elif projection[2] == "q":
            # nn.MultiheadAttention has one matrix for q, k and v; k and v are skipped on their own.
            parts = [f"{projection[1]}{x}_proj.{projection[3]}" for x in "qkv"]
            missing = [part for part in parts if part not in weights]
            if missing:
                raise ValueError(
                    f"the weights have {name} but not {missing[0]}: use a complete file"
                )
            joined[f"{projection[1]}in_proj_{projection[3]}"] = torch.cat(
                [weights[part] for part in parts]
            )
    return joined


def _target_name(name: str, model: DeformableDETR) -> str | None:
    """The model's name for a tensor; None where the name is unknown."""
    if name in ("queries.position", "queries.content"):
        return name
    module, _, leaf = name.rpartition(".")
    backbone = re.match(_BACKBONE, module)
    if backbone:
        place = _backbone_module(module[backbone.end() :])
    elif projection := _PROJECTION.fullmatch(module):
        place = _projection_module(int(projection[1]), projection[2] == "1", model)
    elif head := _HEAD.fullmatch(module):
        place = _head_module(head[1], int(head[2]), model) + (head[3] or "")
    else:
        matches = ((re.fullmatch(pattern, module), place) for pattern, place in _MODULES.items())
        place = next((match.expand(place) for match, place in matches if match), None)
    return None if place is None else f"{place}.{leaf}".lstrip(".")


def _backbone_module(module: str) -> str | None:
    if module in _STEM:
        return f"backbone.{_STEM[module]}"
    # layer1 and stages.0 are res2.
    block = re.fullmatch(r"(?:layer(\d)|encoder\.stages\.(\d)\.layers)\.(\d+)\.(.+)", module)
    if not block or block[4] not in _IN_BLOCK:
        return None
    stage = int(block[1]) + 1 if block[1] else int(block[2]) + 2
    return f"backbone.res{stage}.{block[3]}.{_IN_BLOCK[block[4]]}"


def _projection_module(level: int, is_norm: bool, model: DeformableDETR) -> str:
    lateral = len(model.neck.lateral)
    place = f"lateral.{level}" if level < lateral else f"below.{level - lateral}"
    return f"neck.{place}.norm" if is_norm else f"neck.{place}"


def _head_module(kind: str, index: int, model: DeformableDETR) -> str:
    """Name of a head; the encoder's has the index after those of the decoder's layers.

    The decoder's layers share one head without box refinement.
    """
    kind = {"class": "class", "bbox": "box"}[kind]
    if isinstance(model.queries, TwoStageQueries) and index == len(model.decoder.layers):
        return f"queries.{kind}_head"
    return f"{kind}_heads.{index if model.with_box_refine else 0}"


def _class_rows(tensor: Tensor, target: str, classes: Sequence[int]) -> list[int]:
    if max(classes) >= len(tensor):
        raise ValueError(
            f"class {max(classes)} was requested, but the weights have {len(tensor)} classes: keep "
            "all classes (no --coco) of weights that were not trained on COCO"
        )
    if target.startswith("queries."):
        # Proposals are trained with a single class, the first, so row 0 stays first.
        return [0, *classes[1:]]
    return list(classes)


def _repeat_shared_class_head(converted: Weights, model: DeformableDETR) -> None:
    """Repeat the class head, which transformers 5 shares between refining layers and saves once."""
    layers = range(1, len(model.class_heads))
    if any(f"class_heads.{i}.weight" in converted for i in layers):
        return
    for leaf in ("weight", "bias"):
        head = converted.get(f"class_heads.0.{leaf}")
        if head is not None:
            converted |= {f"class_heads.{i}.{leaf}": head for i in layers}


def _check_complete(converted: Weights, unknown: Sequence[str], model: DeformableDETR) -> None:
    expected = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    missing = [name for name in expected if name not in converted]
    surplus = [name for name in converted if name not in expected]
    wrong = [
        f"{name} {tuple(tensor.shape)} where the model has {tuple(expected[name])}"
        for name, tensor in converted.items()
        if name in expected and tensor.shape != expected[name]
    ]
    problems = {
        "unknown names:": unknown,
        "the model has no": surplus,
        "the weights lack": missing,
        "wrong shapes:": wrong,
    }
    found = [f"{what} {_listed(names)}" for what, names in problems.items() if names]
    if found:
        raise ValueError(f"weights do not fit the model: {'; '.join(found)}")


def _listed(names: Sequence[str], shown: int = 8) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
