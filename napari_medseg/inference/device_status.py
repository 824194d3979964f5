"""What is known about a device, and what the driver of NVIDIA says. No torch here, because the window shows it too."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

NVIDIA_COMMAND = "nvidia-smi"
NVIDIA_QUERY = ("--query-gpu=name,driver_version", "--format=csv,noheader")
DRIVER_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class DeviceStatus:
    """One device of this computer.

    Parameters
    ----------
    name
        As after ``--device``: ``cpu``, ``mps``, ``cuda:0``; ``cuda`` for GPUs that torch does not see.
    title
        Name to show, such as ``CUDA 0: NVIDIA RTX 4070``.
    problem
        Why it cannot be used, and what to do; empty if it computes.
    """

    name: str
    title: str
    problem: str = ""

    @property
    def kind(self) -> str:
        """``cpu``, ``cuda`` or ``mps``."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class NvidiaGpu:
    """A GPU as the driver of NVIDIA names it, whatever torch was built with."""

    name: str
    driver: str


def query_nvidia_driver(find_command: Callable[[str], str | None] = shutil.which) -> list[NvidiaGpu]:
    """Return the NVIDIA GPUs of this computer; none if the driver is missing or does not answer."""
    command = find_command(NVIDIA_COMMAND)
    if command is None:
        return []
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW
    try:
        answer = subprocess.run(
            [command, *NVIDIA_QUERY],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=DRIVER_TIMEOUT_S,
            creationflags=flags,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    pairs = [line.rpartition(",") for line in answer.stdout.splitlines() if "," in line]
    return [NvidiaGpu(name.strip(), driver.strip()) for name, _, driver in pairs]
