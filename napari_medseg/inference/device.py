"""The devices of this computer, and which of them compute.

Engine, training and commands choose their device here.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from napari_medseg.core.errors import MedSegError, get_reason, is_gpu_failure, is_out_of_memory
from napari_medseg.inference.device_status import DeviceStatus, NvidiaGpu, query_nvidia_driver

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
CUDA_TORCH_COMMAND = (
    "pip install --upgrade --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cu130"
)
"""Installs a torch with CUDA; on Windows a plain `pip install` brings one without. README has the same command."""


@dataclass(frozen=True)
class TorchBackend:
    """What torch says about the devices. Tests describe other computers with it; the defaults ask the real torch.

    Parameters
    ----------
    version
        Version of torch, such as ``2.9.0+cpu``.
    cuda_build
        Version of CUDA or ROCm that torch was built with; empty if with neither.
    count_gpus
        Returns the number of CUDA or ROCm GPUs that torch can use; raises `RuntimeError` with the reason if none.
    get_gpu_name
        Returns the name of a GPU by its index.
    has_mps
        Returns whether torch can use an Apple GPU.
    compute
        Computes something small on a device, and raises if that fails or is wrong.
    query_driver
        Returns the GPUs that the driver of NVIDIA knows, whatever torch was built with.
    """

    version: str = torch.__version__
    cuda_build: str = torch.version.cuda or torch.version.hip or ""
    count_gpus: Callable[[], int] = lambda: _count_gpus()
    get_gpu_name: Callable[[int], str] = torch.cuda.get_device_name
    has_mps: Callable[[], bool] = torch.backends.mps.is_available
    compute: Callable[[torch.device], None] = lambda device: _compute(device)
    query_driver: Callable[[], Sequence[NvidiaGpu]] = query_nvidia_driver


TORCH = TorchBackend()


def list_devices(backend: TorchBackend | None = None) -> list[DeviceStatus]:
    """Return all devices, the preferred ones first and the CPU last; those that cannot be used have a `problem`."""
    backend = backend or TORCH
    found, reason = _find_devices(backend)
    hidden = _explain_no_gpu(reason, backend)
    return [*([] if hidden is None else [hidden]), *(_test_device(device, backend) for device in found)]


def name_devices(backend: TorchBackend | None = None) -> list[DeviceStatus]:
    """Return the devices that torch lists, by name and untested: a test takes some hundred megabytes of each GPU."""
    backend = backend or TORCH
    return [_add_name(device, backend) for device in _find_devices(backend)[0]]


def choose_device(wanted: str | torch.device | None = None, backend: TorchBackend | None = None) -> torch.device:
    """Return the device with a name, or the first one that computes: the GPUs in turn, then the CPU.

    Parameters
    ----------
    wanted
        ``"cpu"``, ``"cuda"`` (the first GPU that computes), ``"cuda:1"`` or ``"mps"``; `None` or empty for the fastest
        one. A device that was chosen before is returned unchanged.
    backend
        What torch says about the devices; by default `TORCH`.

    Raises
    ------
    MedSegError
        If there is no such device or it does not compute; the text lists those that do.
    """
    if isinstance(wanted, torch.device):
        return wanted
    backend, name = backend or TORCH, (wanted or "").strip().lower()
    name = {"mps:0": "mps", "cpu:0": "cpu"}.get(name, name)
    for device in _find_devices(backend)[0]:
        # Only devices in question are tested: each GPU that computes takes some hundred megabytes there.
        if name in ("", device.name, device.kind) and not _test_device(device, backend).problem:
            return torch.device(device.name)
    raise MedSegError(_explain_missing(str(wanted), name, list_devices(backend)))


def explain_cpu(devices: Sequence[DeviceStatus]) -> str:
    """Return why a GPU is not used; empty if there is one that computes."""
    if any(not device.problem and device.name != "cpu" for device in devices):
        return ""
    return " ".join(f"{device.title}: {device.problem}" for device in devices if device.problem)


def describe_device(device: torch.device) -> str:
    """Return the name of the device to show, such as ``CUDA: NVIDIA RTX 4070``."""
    if device.type == "cuda":
        return _make_gpu_title(torch.cuda.get_device_name(device))
    return "GPU (Apple)" if device.type == "mps" else "CPU"


def free_cached_memory(device: torch.device) -> None:
    """Release the memory that torch caches on the device. A device that has failed cannot do it, which is logged."""
    try:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()
    except RuntimeError:
        logger.warning("cannot free the memory of %s", device, exc_info=True)


def can_fall_back(error: BaseException, device: torch.device) -> bool:
    """Whether the CPU can take over from a device that failed with this error; not if the computer's memory is full."""
    return device.type != "cpu" and is_gpu_failure(error)


def is_full(device: torch.device, error: BaseException) -> bool:
    """Whether an error says that the memory of a device is full. That of the computer counts for the CPU only."""
    return is_out_of_memory(error) and (device.type == "cpu" or can_fall_back(error, device))


def _find_devices(backend: TorchBackend) -> tuple[list[DeviceStatus], str]:
    """Return the devices that torch lists, untested, and why it lists no GPU of CUDA or ROCm."""
    n_gpus, reason = 0, ""
    if backend.cuda_build:
        try:
            n_gpus = backend.count_gpus()
        except (RuntimeError, AssertionError, OSError) as error:
            reason = get_reason(error)
    gpus = [DeviceStatus(f"cuda:{index}", f"CUDA {index}") for index in range(n_gpus)]
    apple = [DeviceStatus("mps", "GPU (Apple)")] if backend.has_mps() else []
    return [*gpus, *apple, DeviceStatus("cpu", "CPU")], reason


def _test_device(device: DeviceStatus, backend: TorchBackend) -> DeviceStatus:
    """Compute on a device: torch also lists GPUs that are too old, full, or lost by their driver."""
    chosen = torch.device(device.name)
    try:
        device = _add_name(device, backend)
        if chosen.type != "cpu":
            backend.compute(chosen)
    except (RuntimeError, AssertionError, OSError, TypeError) as error:
        logger.warning("cannot compute on %s: %s", device.name, get_reason(error))
        return replace(device, problem=_explain_no_computation(error, backend))
    return device


def _add_name(device: DeviceStatus, backend: TorchBackend) -> DeviceStatus:
    if device.kind != "cuda":
        return device
    return replace(device, title=_make_gpu_title(backend.get_gpu_name(torch.device(device.name).index), device.title))


def _explain_no_gpu(reason: str, backend: TorchBackend) -> DeviceStatus | None:
    """Return why torch lists no GPU; `None` if there is no driver either, so most likely no such GPU."""
    if backend.cuda_build and not reason:
        return None
    gpus = ", ".join(gpu.name for gpu in backend.query_driver())
    problem = f"torch cannot use it: {reason}. Restart the computer, or update the driver." if gpus else ""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", os.environ.get("HIP_VISIBLE_DEVICES"))
    if not backend.cuda_build and gpus:
        problem = f"torch {backend.version} has no CUDA. Install one that has it, then restart: {CUDA_TORCH_COMMAND}"
    elif "too old" in reason or "insufficient" in reason:
        problem = (
            f"the NVIDIA driver is too old for torch {backend.version} (CUDA {backend.cuda_build}). Update the driver: "
            "https://www.nvidia.com/drivers"
        )
    elif backend.cuda_build and hidden is not None:
        problem = f"CUDA_VISIBLE_DEVICES={hidden} hides the GPUs of this computer from the program. Unset it."
    return DeviceStatus("cuda", f"CUDA: {gpus}" if gpus else "CUDA", problem) if problem else None


def _explain_no_computation(error: Exception, backend: TorchBackend) -> str:
    text = get_reason(error)
    if is_out_of_memory(error):
        return "its memory is full. Close the programs that use it, then restart."
    if "no kernel image" in text or "not compatible" in text or "ARCH_MISMATCH" in text:
        return (
            f"this GPU is too old or too new for torch {backend.version} (CUDA {backend.cuda_build}). Install a torch "
            "that supports it: https://pytorch.org/get-started"
        )
    return f"it does not compute: {text}. Update its driver."


def _explain_missing(wanted: str, name: str, devices: Sequence[DeviceStatus]) -> str:
    choices = ", ".join(
        device.name if device.name == "cpu" else f"{device.name} ({device.title})"
        for device in devices
        if not device.problem
    )
    known = next((device for device in devices if name in (device.name, device.kind)), None)
    if known is not None:
        return f"the device {wanted!r} cannot be used. {known.title}: {known.problem} Or choose one of: {choices}."
    return f"there is no device {wanted!r} here; choose one of: {choices}. {explain_cpu(devices)}".strip()


def _make_gpu_title(name: str, kind: str = "CUDA") -> str:
    return f"{kind.replace('CUDA', 'ROCm') if torch.version.hip else kind}: {name}"


def _count_gpus() -> int:
    torch.cuda.init()  # type: ignore[no-untyped-call]  # unlike `is_available`, it says why there is none
    return torch.cuda.device_count()


def _compute(device: torch.device) -> None:
    """Compute a small convolution, which needs more of the GPU's libraries than a sum."""
    planes, kernel = torch.ones(1, 1, 4, 4, device=device), torch.ones(1, 1, 3, 3, device=device)
    total = float(functional.conv2d(planes, kernel).sum())
    if total != 36.0:
        raise RuntimeError(f"a convolution of ones gives {total} instead of 36")
