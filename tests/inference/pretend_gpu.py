"""A computer with a GPU, on one without: torch keeps everything on the CPU, and networks of ours fail as GPUs do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda:0")

MEMORY_ERRORS: dict[str, Callable[[], Exception]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "cusolver": lambda: RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED"),
    "driver": lambda: RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    "no algorithm": lambda: RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    "hip": lambda: RuntimeError("HIP out of memory. Tried to allocate 20.00 MiB"),
    "hip error": lambda: RuntimeError("HIP error: hipErrorOutOfMemory"),
    "miopen": lambda: RuntimeError("miopenStatusAllocFailed"),
    "mps buffer": lambda: RuntimeError("Invalid buffer size: 9.75 GB"),
    "mps": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 5 GB, max allowed: 9 GB)"),
    "metal": lambda: RuntimeError("Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)"),
    "allocator": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    "c++": lambda: RuntimeError("std::bad_alloc"),
    "c++ on windows": lambda: RuntimeError("bad allocation"),
    "python": MemoryError,
}
GPU_ERRORS: dict[str, Callable[[], Exception]] = {
    "lost": lambda: RuntimeError("CUDA error: unspecified launch failure"),
    "old": lambda: RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    "hip": lambda: RuntimeError("HIP error: invalid device function"),
    "mps operation": lambda: NotImplementedError(
        "The operator 'aten::grid_sampler_3d' is not currently implemented for the MPS device."
    ),
    "mps float64": lambda: TypeError(
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
    ),
    "no cuda": lambda: AssertionError("Torch not compiled with CUDA enabled"),
}
FAULTS_OF_OURS: dict[str, Callable[[], Exception]] = {
    "channels": lambda: RuntimeError("expected 3 channels"),
    "two devices": lambda: RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu!"),
    "a word": lambda: TypeError("dumps() got an unexpected keyword argument 'timestamps'"),
    "an assertion": lambda: AssertionError("a prediction ends with its result"),
}


class _OnCpu(TorchFunctionMode):
    """Lets torch take the GPU of the pretence for the CPU."""

    def __torch_function__(
        self, function: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        def stay(value: object) -> object:
            return torch.device("cpu") if value in (GPU, str(GPU), "cuda") and not isinstance(value, Tensor) else value

        def map_all(values: tuple[Any, ...]) -> list[Any]:
            return [value if isinstance(value, Tensor | list | tuple) else stay(value) for value in values]

        named = {
            name: value if isinstance(value, Tensor | list | tuple) else stay(value)
            for name, value in (kwargs or {}).items()
        }
        return function(*map_all(args), **named)


@contextmanager
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, ``cuda:0`` is a device that computes, named ``Pretence 4090``."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Pretence 4090")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with _OnCpu():
        yield


class FailsOnGpu(nn.Module):
    """A network that the CPU computes, and that raises on a GPU: when moved there, or above a number of pixels.

    Parameters
    ----------
    inner
        Computes what the CPU answers.
    error
        Makes the error.
    most_px
        Largest n * h * w that fits; -1 to raise already when the network is moved to the GPU.
    """

    def __init__(self, inner: nn.Module, error: Callable[[], Exception], most_px: int = 0) -> None:
        super().__init__()
        self.inner, self.error, self.most_px, self.is_on_gpu = inner, error, most_px, False

    def to(self, *args: Any, **kwargs: Any) -> "FailsOnGpu":  # type: ignore[override]
        device = kwargs.get("device", args[0] if args else None)
        if device is not None:
            self.is_on_gpu = str(device).startswith("cuda")  # the pretence maps `torch.device`, too
            if self.is_on_gpu and self.most_px < 0:
                raise self.error()
        return super().to(*args, **kwargs)

    def forward(self, planes: Tensor) -> Tensor:
        if self.is_on_gpu and planes[:, 0].numel() > self.most_px:
            raise self.error()
        return self.inner(planes)
