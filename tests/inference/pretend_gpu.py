"""A computer with a GPU, on one without: torch keeps everything on the CPU, and networks of ours fail as GPUs do."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_medseg.inference import device as devices
from training.data import prefetch

GPU = torch.device("cuda:0")

GPU_MEMORY_ERRORS: dict[str, Callable[[], Exception]] = {
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
}
COMPUTER_MEMORY_ERRORS: dict[str, Callable[[], Exception]] = {
    "allocator": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
    "windows": lambda: RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    "c++": lambda: RuntimeError("std::bad_alloc"),
    "c++ on windows": lambda: RuntimeError("bad allocation"),
    "python": MemoryError,
    "numpy": lambda: MemoryError("Unable to allocate 2.00 GiB for an array with shape (1, 512, 1024, 1024)"),
}
MEMORY_ERRORS = GPU_MEMORY_ERRORS | COMPUTER_MEMORY_ERRORS
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
            is_gpu = isinstance(value, torch.device | str) and str(value).startswith("cuda")
            return torch.device("cpu") if is_gpu else value

        if function is torch.device:
            return torch.device(*args, **(kwargs or {}))
        meant = {name: stay(value) for name, value in (kwargs or {}).items() if name != "pin_memory"}  # for CUDA only
        return function(*map(stay, args), **meant)


class _PoolOnCpu(ThreadPoolExecutor):
    """Torch keeps such a mode for one thread only."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def work() -> Any:
            with _OnCpu():
                return function(*args, **kwargs)

        return super().submit(work)


@contextmanager
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, ``cuda:0`` is a device that computes, named ``Pretence 4090``."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Pretence 4090")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    backend = devices.TorchBackend(cuda_build="13.0", count_gpus=lambda: 1, has_mps=lambda: False)
    monkeypatch.setattr(devices, "TORCH", replace(backend, get_gpu_name=torch.cuda.get_device_name, query_driver=list))
    monkeypatch.setattr(prefetch, "ThreadPoolExecutor", _PoolOnCpu)
    with _OnCpu():
        yield


def fail_on_gpu(network: nn.Module, error: Callable[[], Exception], most_px: int | Callable[[], int] = 0) -> nn.Module:
    """Let a network raise on a GPU: when it is moved there (`most_px` -1), or above n * h * w pixels.

    `most_px` may be a function, for a GPU that fails later. On the CPU it computes as before; names of its weights
    stay the same.
    """

    get_most_px = most_px if callable(most_px) else lambda: most_px

    class FailsOnGpu(type(network)):  # type: ignore[misc]
        is_on_gpu = False

        def to(self, *args: Any, **kwargs: Any) -> nn.Module:
            device = kwargs.get("device", args[0] if args else None)
            if device is not None:
                self.is_on_gpu = torch.device(device).type == "cuda"
                if self.is_on_gpu and get_most_px() < 0:
                    raise error()
            return super().to(*args, **kwargs)

        def forward(self, planes: Tensor) -> Tensor:
            if self.is_on_gpu and planes[:, 0].numel() > get_most_px():
                raise error()
            return super().forward(planes)

    network.__class__ = FailsOnGpu
    return network
