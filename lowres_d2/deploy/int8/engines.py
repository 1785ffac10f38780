"""Networks in int8, quantised and run by onnxruntime and by OpenVINO.

    pip install onnx onnxscript onnxruntime openvino nncf

Both get the same ONNX graph and quantise it after training, each in its own way: weights and
activations to 8 bits, with ranges from calibration images. Packages are imported when they are
needed, so that neither engine is when the other one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lowres_d2.deploy.onnx_graph import onnx_graph
from lowres_d2.deploy.packages import needed
from lowres_d2.deploy.runtimes import onnxruntime_session, openvino_compiled

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Network = Callable[[Float[Tensor, "N C H W"]], Sequence[Float[Tensor, "N _ h w"]]]


def write_onnx(network: nn.Module, image: Float[Tensor, "N C H W"], path: Path) -> Path:
    """Write a network as a graph for images of this size, as onnxruntime prepares it to quantise.

    Args:
        network: in evaluation mode.
        image: the graph takes no other size.
        path: file to write.

    Raises:
        ModuleNotFoundError: a package is missing; names what to install.
    """
    shape_inference = _needed("onnxruntime.quantization.shape_inference")
    raw = path.with_suffix(".raw.onnx")
    with torch.no_grad():
        raw.write_bytes(onnx_graph(torch.export.export(network, (image,), strict=False)))
    shape_inference.quant_pre_process(raw, path, skip_symbolic_shape=True)
    return path


def onnxruntime_int8(path: Path, images: Sequence[Float[Tensor, "N C H W"]]) -> Path:
    """onnxruntime's static quantisation: ranges of each channel of weights, unsigned activations.

    Args:
        path: from :func:`write_onnx`.
        images: for calibration.
    """
    quantization = _needed("onnxruntime.quantization")

    class Images(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left: Iterator[Tensor] = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"image": image.numpy()}

    output = path.with_suffix(".int8.onnx")
    quantization.quantize_static(
        path,
        output,
        Images(),
        per_channel=True,
        # Unsigned times signed: what VNNI multiplies.
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return output


def with_onnxruntime(path: Path, threads: int) -> Network:
    """A network that onnxruntime runs on the CPU."""
    _needed("onnxruntime")
    session = onnxruntime_session(path, threads)

    def run(image: Tensor) -> list[Tensor]:
        return [torch.from_numpy(x) for x in session.run(None, {"image": image.numpy()})]

    return run


def openvino_int8(path: Path, images: Sequence[Float[Tensor, "N C H W"]]) -> Any:
    """OpenVINO's static quantisation, by NNCF, of a graph from :func:`write_onnx`."""
    nncf, openvino = _needed("nncf"), _needed("openvino")
    model = openvino.Core().read_model(path)
    calibration = nncf.Dataset([image.numpy() for image in images])
    return nncf.quantize(model, calibration, subset_size=len(images))


def with_openvino(model: Any, threads: int) -> Network:
    """A network that OpenVINO runs on the CPU, by default in bfloat16 where the CPU has it.

    Args:
        model: of :func:`openvino_int8`, or the path of a graph.
        threads: their number.
    """
    _needed("openvino")
    compiled = openvino_compiled(model, threads)

    def run(image: Tensor) -> list[Tensor]:
        found = compiled(image.numpy())
        return [torch.from_numpy(found[output]) for output in compiled.outputs]

    return run


def _needed(name: str) -> Any:
    return needed(name, "int8", "onnx onnxscript onnxruntime openvino nncf")
