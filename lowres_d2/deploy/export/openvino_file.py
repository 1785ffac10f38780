"""OpenVINO's IR: a graph in a .xml file, its weights in a .bin file beside it.

It is made of the ONNX graph. The weights are sealed; a damaged graph is no xml any more.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.deploy.export.formats import Run
from lowres_d2.deploy.export.graph import Graph
from lowres_d2.deploy.export.onnx_file import onnx_bytes
from lowres_d2.deploy.export.sealed import KEY, Known
from lowres_d2.deploy.runtimes import openvino_compiled

import torch

WEIGHTS = ".bin"


def write(graph: Graph, known: Known, path: Path) -> None:
    """Write a graph.

    Args:
        graph: with NMS.
        known: its metadata.
        path: the .xml file to write; the .bin file is written beside it.
    """
    import openvino

    model = openvino.Core().read_model(onnx_bytes(graph, known))
    weights = path.with_suffix(WEIGHTS)
    openvino.serialize(model, path, weights)
    model.set_rt_info(known.sealed(weights.read_bytes()), [KEY])
    openvino.serialize(model, path, weights)


def read(path: Path) -> tuple[Known, Run]:
    """What a file says of itself, and its network.

    Args:
        path: the .xml file.

    Raises:
        ValueError: OpenVINO cannot read it, the .bin file is missing, or it is not ours or damaged.
    """
    import openvino

    weights = path.with_suffix(WEIGHTS)
    if not weights.is_file():
        raise ValueError(f"{path}: its weights, {weights.name}, are not beside it")
    try:
        model = openvino.Core().read_model(path, weights)
        # Elsewhere than in torch, bfloat16 would be used where the CPU has it.
        compiled = openvino_compiled(model, torch.get_num_threads(), INFERENCE_PRECISION_HINT="f32")
    except RuntimeError as error:
        reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
        raise ValueError(f"{path}: OpenVINO cannot read it ({reason.strip()[:200]})") from None
    text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        # Copies: OpenVINO computes the next image in the same memory.
        return [torch.from_numpy(x.copy()) for x in compiled(image.numpy()).values()]

    return Known.unsealed(text, path, weights), run
