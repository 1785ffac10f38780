"""torch's exporter to ONNX, without its messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import torch
from torch.export import ExportedProgram


def onnx_graph(program: ExportedProgram, outputs: Sequence[str] | None = None) -> bytes:
    """A program as an ONNX file, weights and all.

    Args:
        program: takes an ``image``.
        outputs: names of what it gives; None: torch's.
    """
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own code
        graph = torch.onnx.export(
            program, input_names=["image"], output_names=outputs, dynamo=True, verbose=False
        )
    return graph.model_proto.SerializeToString()
