"""A network computed by OpenVINO on the CPU, behind the interface of `CompiledNetwork`."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_medseg.inference.compiled_network import CompiledNetwork
from napari_medseg.inference.runtimes.openvino_model import SMALLEST_SIDE_PX
from napari_medseg.inference.runtimes.runtime_names import get_openvino_version
from napari_medseg.networks.padding import ALIGNMENT_PX

if TYPE_CHECKING:
    import openvino

SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
"""One batch after the other. Threads are not tied to cores, because window, engine and training share the machine."""

_PRECISIONS = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class PlaneNetwork(Protocol):
    """What a `Predictor` computes with: `CompiledNetwork` or `OpenVinoNetwork`."""

    def compute_logits(self, planes: NDArray[np.float32]) -> Tensor:
        """Return float32 logits (n, classes, h, w) of planes (n, c, h, w)."""

    def take_features(self) -> NDArray[np.float32]:
        """Return the features of the planes since the last call; see `FeaturePool`."""


class OpenVinoNetwork:
    """A converted network; planes that it does not take are computed by torch.

    Parameters
    ----------
    model
        As of `convert_network`, for any number and size of planes: nothing is compiled again for another shape.
    torch_network
        The same network in torch, on the CPU. It collects the features, too.
    dtype
        Type of the computation, as in `CompiledNetwork`; `None` for fp32.
    n_threads
        Threads of a pass; `None` for as many as torch uses.
    """

    def __init__(
        self,
        model: "openvino.Model",
        torch_network: CompiledNetwork,
        dtype: torch.dtype | None = None,
        n_threads: int | None = None,
    ) -> None:
        import openvino

        settings = SETTINGS | {
            "INFERENCE_NUM_THREADS": n_threads or torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
        }
        self.dtype = dtype
        self._torch_network = torch_network
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def compute_logits(self, planes: NDArray[np.float32]) -> Tensor:
        """As `CompiledNetwork.compute_logits`."""
        if not accepts(planes.shape[-2], planes.shape[-1]):
            return self._torch_network.compute_logits(planes)
        answer = self._request.infer([np.ascontiguousarray(planes)], share_inputs=True, share_outputs=True)
        logits, *maps = (torch.from_numpy(answer[index]) for index in range(len(answer)))
        if self._torch_network.pool is not None and maps:
            self._torch_network.pool.add_maps(maps, planes.shape[-2])
        return logits.clone()  # the next pass writes to the same memory

    def take_features(self) -> NDArray[np.float32]:
        """As `CompiledNetwork.take_features`."""
        return self._torch_network.take_features()


def describe_runtime(network: PlaneNetwork) -> str:
    """Return what computes, with its version and precision, such as ``torch 2.14.1, bf16``."""
    is_openvino = isinstance(network, OpenVinoNetwork)
    dtype = network.dtype if isinstance(network, CompiledNetwork | OpenVinoNetwork) else None
    name = f"OpenVINO {get_openvino_version()}" if is_openvino else f"torch {torch.__version__}"
    return f"{name}, {_PRECISIONS[dtype]}"


def accepts(height: int, width: int) -> bool:
    """Whether a converted network takes planes of this size; see `SMALLEST_SIDE_PX`."""
    return min(height, width) >= SMALLEST_SIDE_PX and height % ALIGNMENT_PX == width % ALIGNMENT_PX == 0


def compute_label_agreement(one: Tensor, other: Tensor) -> float:
    """Return the share of pixels with the same label in two logits (n, classes, h, w); 0 if one is not finite."""
    if not bool(torch.isfinite(one).all() and torch.isfinite(other).all()):
        return 0.0
    return float((one.argmax(dim=1) == other.argmax(dim=1)).float().mean())


def compute_probability_difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of a probability in two logits (n, classes, h, w); 1 if one is not finite."""
    if not bool(torch.isfinite(one).all() and torch.isfinite(other).all()):
        return 1.0
    return float((one.softmax(dim=1) - other.softmax(dim=1)).abs().max())
