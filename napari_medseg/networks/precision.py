"""The precision and the memory order of a network on a device: one choice for prediction, training and validation."""

import os

import torch

ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that forbid oneDNN the newer instructions of the CPU, which torch's own question ignores."""
_ISA_WITH_BF16 = ("DEFAULT", "ALL", "BF16", "FP16", "AMX", "AVX10")


def choose_autocast_dtype(device: torch.device, precision: str) -> torch.dtype | None:
    """Return bf16 if the model card allows it and the device supports it, else `None` for fp32.

    A CPU without bf16 instructions emulates them several times more slowly than it computes in fp32, and so does a GPU
    before Ampere. Apple's GPUs have no bf16 in all versions of macOS that torch supports.
    """
    if precision != "bf16" or device.type == "mps":
        return None
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_has_bf16()
    return torch.bfloat16 if has_bf16 else None


def make_autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context in which a network computes, in training as in prediction; see `choose_autocast_dtype`."""
    dtype = choose_autocast_dtype(device, precision)
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def choose_memory_format(device: torch.device) -> torch.memory_format:
    """Return the order of the pixels in memory: channels last, which CPUs and CUDA compute faster, but not on Metal.

    There convolutions of channels-last tensors fail or are wrong in several versions of torch, and are slow in others:
    https://github.com/pytorch/pytorch/issues/140902, 180984, 193349.
    """
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def _cpu_has_bf16() -> bool:
    limit = next((os.environ[name].upper() for name in ISA_LIMITS if os.environ.get(name)), "DEFAULT")
    if not any(word in limit for word in _ISA_WITH_BF16):
        return False
    # torch has no public function for it before 2.15
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe is not None and probe() for probe in probes)
