import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pretend_gpu import GPU, pretend_gpu

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.batch_limits import DEVICE_LIMITS, BatchLimits, reduce_limits
from napari_medseg.inference.device import (
    CUDA_TORCH_COMMAND,
    TORCH,
    TorchBackend,
    choose_device,
    describe_device,
    explain_cpu,
    free_cached_memory,
    list_devices,
)
from napari_medseg.inference.device_status import NvidiaGpu, query_nvidia_driver

README = Path(__file__).parents[2] / "README.md"
NAMES = ("NVIDIA GT 710", "NVIDIA RTX 4070", "NVIDIA RTX 4090")


def fail(error: Exception) -> Callable[..., None]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


def computer(*names: str, broken: str = "", **changes: object) -> TorchBackend:
    """A computer with these GPUs; `broken` is what those of the first name fail with."""

    def compute(device: torch.device) -> None:
        if broken and device.type == "cuda" and device.index == 0:
            raise RuntimeError(broken)

    backend = TorchBackend("2.9.0", "13.0", lambda: len(names), lambda index: names[index], lambda: False, compute)
    return replace(backend, **{"query_driver": list, **changes})  # type: ignore[arg-type]


def test_a_device_is_found_and_has_a_title_and_limits() -> None:
    device = choose_device()
    assert describe_device(device)
    assert device.type in DEVICE_LIMITS
    assert describe_device(choose_device("cpu")) == "CPU"
    assert list_devices()[-1].name == "cpu"


def test_the_first_gpu_that_computes_is_the_fastest_device() -> None:
    old = computer(*NAMES, broken="CUDA error: no kernel image is available for execution on the device")
    assert choose_device(None, old) == choose_device("cuda", old) == torch.device("cuda:1")
    assert choose_device("", computer(*NAMES)) == torch.device("cuda:0")
    assert choose_device(" CUDA:2 ", old) == torch.device("cuda:2")
    apple = computer(count_gpus=fail(RuntimeError("Found no NVIDIA driver")), has_mps=lambda: True)
    assert choose_device(None, apple) == choose_device("mps:0", apple) == torch.device("mps")
    assert choose_device(GPU, computer()) == GPU, "what was chosen before is not asked again"


@pytest.mark.parametrize("name", ["tpu", "cuda:9", "cuda:-1", "cuda:x", "mps", "gpu", "cpu:3", "xpu"])
def test_a_device_that_is_not_there_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(MedSegError, match=f"no device '{name}' here; choose one of: cuda:0 .*GT 710.*cuda:1.*, cpu"):
        choose_device(name, computer(*NAMES[:2]))


def test_a_gpu_that_does_not_compute_is_refused_with_the_reason_and_the_others() -> None:
    old = computer(*NAMES, broken="CUDA error: no kernel image is available for execution on the device")
    with pytest.raises(MedSegError, match=r"'cuda:0' cannot be used.*GT 710: .*too old or too new.*cuda:1 \(CUDA 1"):
        choose_device("cuda:0", old)


RTX = (NvidiaGpu("RTX 4070", "560.1"),)
OLD_DRIVER = RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")
NO_DRIVER = RuntimeError("Found no NVIDIA driver on your system.")
UNKNOWN = RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment")


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        (computer(cuda_build="", query_driver=lambda: RTX), r"RTX 4070: .*no CUDA.*pip install"),
        (computer(count_gpus=fail(OLD_DRIVER)), "driver is too old"),
        (computer(count_gpus=fail(NO_DRIVER)), "^$"),
        (computer(cuda_build=""), "^$"),
        (computer("A", broken="CUDA error: out of memory"), "memory is full"),
        (computer("A", broken="CUDA error: no kernel image is available"), "too old or too new"),
        (computer("A", broken="cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "does not compute: cuDNN error"),
        (computer("A", broken="a convolution of ones gives 0.0 instead of 36"), "gives 0.0 instead of 36"),
        (computer("A", "B", broken="CUDA error"), "^$"),
        (
            computer(count_gpus=fail(UNKNOWN), query_driver=lambda: RTX),
            "RTX 4070: torch cannot use it: CUDA unk",
        ),
    ],
    ids=["no cuda", "old driver", "no driver", "no gpu", "full", "old gpu", "cudnn", "wrong", "the second", "unknown"],
)
def test_it_says_why_the_cpu_is_used(backend: TorchBackend, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert re.search(reason, explain_cpu(list_devices(backend)))
    assert choose_device(None, backend).type == ("cuda" if "B" in str(list_devices(backend)) else "cpu")


def test_hidden_gpus_are_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = computer(count_gpus=fail(RuntimeError("No CUDA GPUs are available")))
    assert "CUDA_VISIBLE_DEVICES= hides" in explain_cpu(list_devices(hidden))


def test_the_driver_is_asked_by_its_own_program(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX A2000, 12 GB, 560.35.03'\n", encoding="utf-8")
    program.chmod(0o755)
    assert query_nvidia_driver(lambda _: str(program)) == [NvidiaGpu("NVIDIA RTX A2000, 12 GB", "560.35.03")]
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n", encoding="utf-8")
    assert query_nvidia_driver(lambda _: str(program)) == []
    assert query_nvidia_driver(lambda _: None) == []


def test_readme_has_the_command_of_the_message() -> None:
    assert CUDA_TORCH_COMMAND in README.read_text(encoding="utf-8")


def test_a_device_that_failed_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", fail(RuntimeError("CUDA error: unspecified launch failure")))
    free_cached_memory(GPU)


def test_a_pretended_gpu_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_gpu(monkeypatch):
        TORCH.compute(GPU)
        assert describe_device(GPU) == "CUDA: Pretence 4090"


@pytest.mark.parametrize("limits", DEVICE_LIMITS.values(), ids=DEVICE_LIMITS)
def test_tiles_suit_the_network(limits: BatchLimits) -> None:
    assert limits.tile_px % 32 == 0
    assert 64 < limits.overlap_px <= limits.tile_px // 2
    assert limits.tile_px**2 <= limits.max_untiled_px


def test_limits_get_smaller_until_there_are_none() -> None:
    limits, words = DEVICE_LIMITS["cuda"], list[str]()
    shape = (4, 1024, 1024)
    while (smaller := reduce_limits(limits, *shape)) is not None:
        limits, text = smaller
        words.append(text)
        shape = (max(1, limits.batch_px // 1024**2), 1024, 1024)
    assert words == ["2 slices at once", "1 slices at once", *(f"tiles of {side} px" for side in (512, 256, 128))]
