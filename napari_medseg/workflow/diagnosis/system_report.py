"""The report of `medseg doctor`: versions, devices, memory, encodings and models. No host name, no name of a user."""

import importlib.metadata
import locale
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from napari_medseg.core.errors import MedSegError, get_reason
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.inference.device_status import DeviceStatus, query_nvidia_driver
from napari_medseg.inference.engine.shared_memory import LINUX_SHARED_MEMORY, SharedArray
from napari_medseg.window_requirements import can_compute, explain_no_computing
from napari_medseg.workflow.diagnosis.trial_prediction import TrialPrediction, try_prediction

PACKAGES = (
    "napari-medseg",
    "napari",
    "torch",
    "torchvision",
    "monai",
    "segmentation-models-pytorch",
    "openvino",
    "numpy",
    "pydicom",
)
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
SHARED_MEMORY_TRIAL_BYTES = 2**20
LITTLE_SHARED_MEMORY_MB = 512


@dataclass(frozen=True)
class SystemReport:
    """What was found, in sections of names and values; `problems` are sentences that say what to do."""

    sections: dict[str, dict[str, str]]
    devices: tuple[DeviceStatus, ...]
    trials: tuple[TrialPrediction, ...]
    problems: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether every trial prediction worked, and there was one."""
        return bool(self.trials) and not any(trial.problem for trial in self.trials)


def examine_system(
    registry: ModelRegistry,
    project_dir: Path,
    device: str | None = None,
    try_on: Callable[[str], TrialPrediction] = try_prediction,
) -> SystemReport:
    """Examine this computer; nothing is changed.

    Parameters
    ----------
    registry, project_dir
        Registry of models, and folder of the project, which need not exist.
    device
        Device for the trial prediction; `None`: every device that computes.
    try_on
        Predicts on a device.
    """
    devices, problem = _find_devices()
    names = [device] if device else [status.name for status in devices if not status.problem]
    trials = tuple(try_on(name) for name in names)
    shared_memory, shared_problem = _examine_shared_memory()
    sections = {
        "versions": _list_versions(),
        "devices": _describe_devices(devices),
        "memory and disk": _examine_memory(project_dir, devices) | {"shared memory": shared_memory},
        "encodings": _list_encodings(),
        "models": _list_models(registry),
    }
    texts = [problem, *(f"{status.title}: {status.problem}" for status in devices if status.problem), shared_problem]
    texts += [f"trial prediction on {trial.device}: {trial.problem}" for trial in trials if trial.problem]
    return SystemReport(sections, tuple(devices), trials, tuple(text for text in texts if text))


def shorten_home(text: str) -> str:
    """Replace the user's home folder, which often holds a name, by ``~``."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _find_devices() -> tuple[Sequence[DeviceStatus], str]:
    """Return the devices, and why torch cannot be used."""
    if not can_compute():
        return (), f"{explain_no_computing('predict or train')}."
    try:
        from napari_medseg.inference.device import list_devices
    except (ImportError, OSError) as error:  # OSError: a DLL of torch does not load
        return (), f"torch cannot be loaded: {get_reason(error)}. Install the program again; see docs/install.md."
    return list_devices(), ""


def _describe_devices(devices: Sequence[DeviceStatus]) -> dict[str, str]:
    return {status.name: f"{status.title}; {_describe_state(status)}" for status in devices}


def _describe_state(status: DeviceStatus) -> str:
    return f"cannot be used: {status.problem}" if status.problem else _get_precision(status)


def _get_precision(status: DeviceStatus) -> str:
    import torch

    from napari_medseg.networks.precision import choose_autocast_dtype

    dtype = choose_autocast_dtype(torch.device(status.name), "bf16")
    return f"computes in {'fp32' if dtype is None else 'bf16'}"


def _list_versions() -> dict[str, str]:
    found = {"python": f"{platform.python_version()} ({platform.architecture()[0]})"}
    found["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    found |= {name: _get_version(name) or "missing" for name in PACKAGES}
    found["Qt"] = ", ".join(f"{name} {version}" for name in QT_BINDINGS if (version := _get_version(name))) or "missing"
    found["CUDA of torch"] = _get_cuda_build()
    drivers = {gpu.driver for gpu in query_nvidia_driver()}
    found["NVIDIA driver"] = ", ".join(sorted(drivers)) or "none found"
    return found


def _get_cuda_build() -> str:
    try:
        import torch
    except (ImportError, OSError):
        return "unknown"
    return f"ROCm {torch.version.hip}" if torch.version.hip else torch.version.cuda or "none"


def _get_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _examine_memory(project_dir: Path, devices: Sequence[DeviceStatus]) -> dict[str, str]:
    memory = psutil.virtual_memory()
    found = {"memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB free"}
    found["processors"] = f"{psutil.cpu_count(logical=False) or '?'} cores, {psutil.cpu_count()} threads"
    place = next(folder for folder in (project_dir, *project_dir.absolute().parents) if folder.exists())
    disk = shutil.disk_usage(place)
    found["disk of the project"] = f"{disk.free / 2**30:.1f} of {disk.total / 2**30:.1f} GB free"
    found["project folder"] = str(project_dir)
    for status in devices:
        if status.kind == "cuda" and not status.problem:
            found[f"memory of {status.name}"] = _describe_gpu_memory(status.name)
    return found


def _describe_gpu_memory(name: str) -> str:
    import torch

    try:
        free, total = torch.cuda.mem_get_info(name)
    except RuntimeError as error:
        return f"unknown: {get_reason(error)}"
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GB free"


def _examine_shared_memory() -> tuple[str, str]:
    """Return what is known about it, and a problem or an empty text. Engine and window share images in it."""
    try:
        with SharedArray.create((SHARED_MEMORY_TRIAL_BYTES,), "uint8") as segment:
            segment.view()[-1] = 1
    except MedSegError as error:
        return "does not work", str(error)
    if not LINUX_SHARED_MEMORY.is_dir():
        return "works", ""
    free_mb = shutil.disk_usage(LINUX_SHARED_MEMORY).free / 2**20
    little = "in Docker, start with --shm-size 2g" if free_mb < LITTLE_SHARED_MEMORY_MB else ""
    return f"works, {free_mb:.0f} MB free", f"there is little shared memory for volumes: {little}." if little else ""


def _list_encodings() -> dict[str, str]:
    return {
        "locale": locale.getpreferredencoding(do_setlocale=False),
        "stdout": str(getattr(sys.stdout, "encoding", None)),
        "file names": sys.getfilesystemencoding(),
        "UTF-8 mode": "on" if sys.flags.utf8_mode else "off",
    }


def _list_models(registry: ModelRegistry) -> dict[str, str]:
    try:
        tasks = sorted({card.task for card in registry.list_versions()})
        lines = {task: _describe_task(registry, task) for task in tasks}
    except MedSegError as error:
        return {"registry": f"cannot be read: {error}"}
    return {"registry": str(registry.user_dir)} | lines


def _describe_task(registry: ModelRegistry, task: str) -> str:
    n_versions, live = len(registry.list_versions(task)), registry.get_live_id(task) or "none"
    return f"{n_versions} version{'s' * (n_versions != 1)}, {live} is live"
