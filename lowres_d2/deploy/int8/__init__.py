"""Real-valued dense detectors in int8, by other packages: what 1-bit ones are compared with."""

from lowres_d2.deploy.int8.detector import with_network
from lowres_d2.deploy.int8.engines import (
    Network,
    onnxruntime_int8,
    openvino_int8,
    with_onnxruntime,
    with_openvino,
    write_onnx,
)
from lowres_d2.deploy.int8.folding import DenseNetwork, folded

__all__ = [
    "DenseNetwork",
    "Network",
    "folded",
    "onnxruntime_int8",
    "openvino_int8",
    "with_network",
    "with_onnxruntime",
    "with_openvino",
    "write_onnx",
]
