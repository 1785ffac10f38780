"""A detector in 1 bit, with the names and weights of the real-valued one.

In a recipe:

    model.detector = L(binarized)(detector=detector)

Source: DFR-Det (Xu et al., ICML 2024), Sec. 3.1 and 4.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from lowres_d2.layers.k_bit import KBitConv2d, KBitLinear
from lowres_d2.layers.like import arguments_of
from lowres_d2.layers.one_bit import BinaryConv2d, BinaryLinear, ShiftedSign, Sign
from lowres_d2.layers.one_bit.signs import check_gradient
from lowres_d2.modeling.one_bit.activations import prelu_for_relu, shift_prelus
from lowres_d2.modeling.one_bit.one_signed import one_signed, recording_lowest, run_on_random_image
from lowres_d2.modeling.one_bit.read_past import recording_reads
from lowres_d2.modeling.one_bit.real_layers import (
    AS_WRITTEN,
    fits,
    layers_by_path,
    optional_groups,
    real_patterns,
)
from lowres_d2.modeling.one_bit.replace import replace_modules
from lowres_d2.modeling.one_bit.towers import add_tower_shortcuts

from torch import nn

logger = logging.getLogger(__name__)

QUANTIZERS = ("sign", "shifted_sign", "learned_step", "none")
ACTIVATIONS = ("prelu", "shifted_prelu")


def binarized(
    detector: nn.Module,
    real_layers: Sequence[str] = AS_WRITTEN,
    quantizer: str = "sign",
    gradient: str = "polynomial",
    scale: str = "learned",
    tower_shortcuts: bool = False,
    activation: str = "prelu",
    bits: int = 4,
) -> nn.Module:
    """Convert the convolutions and fully connected layers of a network to 1 bit, in place.

    Layers keep their parameters under their names, so that weights of the real-valued network load.
    ReLUs become PReLUs. A real-valued network of the same topology, the twin that gives the initial
    weights, has ``quantizer="none"``.

    Args:
        detector: any detector, classifier or backbone of Detectron2. Of a ``Backbone``, the group
            ``last`` may have no layers.
        real_layers: which layers stay real-valued: patterns of their paths, and the groups
            ``first``, ``shortcuts``, ``last`` and ``pyramid``, see
            :mod:`lowres_d2.modeling.one_bit.real_layers`.
        quantizer: of inputs: ``sign``; ``shifted_sign`` has a learned threshold for each channel;
            ``none`` leaves all layers real-valued; ``learned_step`` is LSQ, of several bits for
            inputs and weights, and leaves ReLUs as they are.
        gradient: of the sign, see :func:`lowres_d2.layers.one_bit.sign`.
        scale: see :class:`lowres_d2.layers.one_bit.BinaryWeights`.
        tower_shortcuts: put a shortcut around each convolution of the towers of dense heads.
        activation: in place of ReLUs: ``prelu``; ``shifted_prelu`` has two learned shifts for each
            channel, and takes the place of PReLUs, too. With ``shifted_sign``: ReActNet.
        bits: of ``learned_step``.

    Returns:
        The same network.

    Raises:
        ValueError: an argument is none of those that there are, a pattern fits nothing, nothing is
            left to convert, a layer has hooks, there is no tower, the input of a 1-bit layer is
            never negative, or its weights are read by others.
    """
    _check_choices(quantizer, activation, gradient)
    layers = layers_by_path(detector)
    patterns = real_patterns(layers, real_layers, optional_groups(detector))
    # One that the network holds in several places stays real-valued if one of its paths says so.
    staying = {layer for path, layer in layers.items() if fits(path, patterns)}
    converted = list(dict.fromkeys(x for x in layers.values() if x not in staying))
    if not converted:
        raise ValueError(
            f"real_layers={list(real_layers)}: all {len(layers)} layers stay real-valued"
        )
    if quantizer != "none":
        _check_layers(layers, staying)
    if tower_shortcuts:
        add_tower_shortcuts(detector)
    several = quantizer == "learned_step"
    if not several:
        prelu_for_relu(detector, patterns)
    if activation == "shifted_prelu":
        shift_prelus(detector, patterns)
    if quantizer != "none":
        convert = _to_bits(bits) if several else _to_signs(quantizer, gradient, scale)
        _keep_from_fused(detector, converted)
        replace_modules(detector, {layer: convert(layer) for layer in converted})
        number = bits if several else 1
        logger.info("%d-bit layers: %d; real-valued: %d", number, len(converted), len(staying))
        _check_inputs(detector)
    return detector


def _check_choices(quantizer: str, activation: str, gradient: str) -> None:
    given = (("quantizer", quantizer, QUANTIZERS), ("activation", activation, ACTIVATIONS))
    for name, value, known in given:
        if value not in known:
            raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")
    check_gradient(gradient)


def _check_layers(layers: Mapping[str, nn.Module], staying: Collection[nn.Module]) -> None:
    for path, layer in layers.items():
        try:
            if layer not in staying:
                arguments_of(layer)
        except ValueError as error:
            raise ValueError(f"{path}: {error}, or add it to real_layers") from error


def _keep_from_fused(detector: nn.Module, converted: Sequence[nn.Module]) -> None:
    """Have torch's encoder layers call their parts.

    In evaluation they compute with the parts' weights instead, if they know their activation.
    """
    for module in detector.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and {*module.children()} & {*converted}:
            module.activation_relu_or_gelu = 0


def _to_bits(bits: int) -> Callable[[nn.Module], nn.Module]:
    def convert(layer: nn.Module) -> nn.Module:
        return (KBitConv2d if isinstance(layer, nn.Conv2d) else KBitLinear).of(layer, bits)

    return convert


def _to_signs(quantizer: str, gradient: str, scale: str) -> Callable[[nn.Module], nn.Module]:
    def convert(layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Conv2d):
            channels, axis, kind = layer.in_channels, 1, BinaryConv2d
        else:
            channels, axis, kind = layer.in_features, -1, BinaryLinear
        shifted = quantizer == "shifted_sign"
        signs = ShiftedSign(channels, gradient, axis) if shifted else Sign(gradient)
        return kind.of(layer, signs.to(layer.weight.device), scale)

    return convert


def _check_inputs(detector: nn.Module) -> None:
    if any(p.is_meta for p in detector.parameters()):  # built for its structure alone
        return
    try:
        with recording_lowest(detector) as lowest, recording_reads(detector) as reads:
            run_on_random_image(detector)
    except Exception as error:  # a network may take other inputs than images of 64 x 64
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        logger.warning("inputs of the 1-bit layers are not checked for both signs: %s", reason)
        return
    if reads:
        raise ValueError(
            f"the weights of {_first_of(sorted(reads))} are read by a module around it, which does "
            "not call the layer, so that nothing would be quantized: add it to real_layers"
        )
    found = one_signed(lowest)
    if found:
        raise ValueError(
            f"the input of the 1-bit layer {_first_of(found)} is never negative, so its sign is "
            "always +1: in front of it is a ReLU called as a function, or another activation "
            "without negative values, like ReLU6 or a sigmoid. Use a backbone of ShortcutBlock and "
            "PReLUStem, a PReLU in place of the activation, or add the layer to real_layers"
        )


def _first_of(paths: Sequence[str]) -> str:
    return f"{paths[0]} (and that of {len(paths) - 1} more)" if len(paths) > 1 else paths[0]
