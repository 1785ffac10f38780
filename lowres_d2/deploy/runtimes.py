"""Runtimes of other projects on the CPU, set up for one image after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def onnxruntime_session(path: str | Path, threads: int) -> Any:
    """onnxruntime's session of a graph.

    Args:
        path: an ONNX file.
        threads: their number.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # warnings are about the graph, which no user can mend
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def openvino_compiled(model: Any, threads: int, **settings: Any) -> Any:
    """OpenVINO's compiled model.

    Args:
        model: OpenVINO's, or the path of a graph.
        threads: their number.
        settings: other ones.
    """
    import openvino

    latency = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    return openvino.Core().compile_model(model, "CPU", latency | settings)
