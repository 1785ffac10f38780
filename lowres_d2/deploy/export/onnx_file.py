"""ONNX, run by onnxruntime.

The file is the graph, and after it a model that has nothing but the metadata: protobuf reads both
as one, and the graph's own bytes can be checked without parsing them.
"""

from __future__ import annotations

from pathlib import Path

from lowres_d2.deploy.export.formats import Run
from lowres_d2.deploy.export.graph import Graph
from lowres_d2.deploy.export.sealed import KEY, Known
from lowres_d2.deploy.export.tracing import traced
from lowres_d2.deploy.onnx_graph import onnx_graph
from lowres_d2.deploy.runtimes import onnxruntime_session

import torch
from torch import nn


def write(graph: Graph, known: Known, path: Path) -> None:
    """Write a graph.

    Args:
        graph: with NMS.
        known: its metadata.
        path: file to write.
    """
    import onnx

    content = onnx_bytes(graph, known)
    metadata = onnx.ModelProto()
    metadata.metadata_props.add(key=KEY, value=known.sealed(content))
    path.write_bytes(content + metadata.SerializeToString())


def onnx_bytes(graph: nn.Module, known: Known) -> bytes:
    """A graph as ONNX.

    Args:
        graph: takes an image (C, H, W).
        known: has its channels, its size and the names of its outputs.
    """
    return onnx_graph(traced(graph, known.channels, known.size), list(known.outputs))


def read(path: Path) -> tuple[Known, Run]:
    """What a file says of itself, and its network.

    Args:
        path: a file.

    Raises:
        ValueError: onnxruntime cannot read it, or it is not ours or damaged.
    """
    try:
        session = onnxruntime_session(path, torch.get_num_threads())
    except Exception as error:  # onnxruntime has a class of its own for each code
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path}: is no ONNX file that onnxruntime can read ({reason})") from None

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(x) for x in session.run(None, {"image": image.numpy()})]

    return Known.unsealed(session.get_modelmeta().custom_metadata_map.get(KEY), path), run
