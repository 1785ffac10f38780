"""ExecuTorch: its XNNPACK backend runs what it can of the network, portable kernels the rest.

The file is the program, and after it the metadata as the last line: the runtime reads no further
than the program says.
"""

from __future__ import annotations

import copy
import logging
from pathlib import Path

from lowres_d2.deploy.export.formats import Run
from lowres_d2.deploy.export.graph import Graph
from lowres_d2.deploy.export.sealed import Known
from lowres_d2.deploy.export.tracing import traced

import torch


def write(graph: Graph, known: Known, path: Path) -> None:
    """Write a graph.

    Args:
        graph: without NMS.
        known: its metadata, which has a size.
        path: file to write.
    """
    _quiet()
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    # XNNPACK refuses weights in channels_last; a copy, since the graph shares the model's.
    graph = copy.deepcopy(graph).to(memory_format=torch.contiguous_format)
    program = traced(graph, known.channels, known.size)
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    content = lowered.to_executorch().buffer
    path.write_bytes(content + b"\n" + known.sealed(content).encode())


def read(path: Path) -> tuple[Known, Run]:
    """What a file says of itself, and its network.

    Args:
        path: a file.

    Raises:
        ValueError: it is not ours or damaged, or ExecuTorch cannot read it.
    """
    # First: the runtime ends the whole process on some damaged files.
    known = Known.unsealed(path.read_bytes().rpartition(b"\n")[2].decode(errors="replace"), path)
    _quiet()
    from executorch.runtime import Runtime

    try:
        method = Runtime.get().load_program(path).load_method("forward")
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path}: ExecuTorch cannot read it ({reason})") from None

    def run(image: torch.Tensor) -> list[torch.Tensor]:
        return list(method.execute([image]))

    return known, run


def _quiet() -> None:
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # on torchao's own classes
