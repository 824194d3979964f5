"""How much memory this process may still take: that of the machine, or of the container that it runs in."""

import contextlib
from pathlib import Path

import psutil

from napari_medseg.core.decoded_size.freed_memory import return_freed_memory

_CGROUPS = Path("/sys/fs/cgroup")
# Version 2 and 1 of Linux control groups, by which Docker and Kubernetes limit a container: limit, usage, and the part
# of the usage that is only a cache of files.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)

_process_limit: int | None = None
"""What this process may take in all, if it was started with less than the machine has, as a worker of a cluster."""


def bound_process_memory(n_bytes: int | None) -> None:
    """Bound what this process takes in all; `None`: by nothing but the machine."""
    global _process_limit
    _process_limit = n_bytes


def measure_left_of_bound() -> int | None:
    """Return what is left of the bound of this process; `None` if it has none."""
    return None if _process_limit is None else max(0, _process_limit - _measure_bounded_use(_process_limit))


def relieve_bounded_process() -> None:
    """Give back what was freed if this process takes more than half of its bound, before it reads the next case."""
    if _process_limit is not None:
        _measure_bounded_use(_process_limit)


def _measure_bounded_use(limit: int) -> int:
    """Return what this process takes; if that is more than half, without what it freed and kept."""
    process = psutil.Process()
    if 2 * process.memory_info().rss > limit:
        return_freed_memory()
    return int(process.memory_info().rss)


def measure_free_bytes() -> int:
    """Return the bytes that can be allocated without swapping, and within the bound of this process."""
    free = int(psutil.virtual_memory().available)
    left = measure_left_of_bound()
    return min([free, *_measure_free_in_container(_CGROUPS), *([] if left is None else [left])])


def _measure_free_in_container(root: Path) -> list[int]:
    """Return what the control group at `root` leaves free; nothing if there is none, or if it has no limit."""
    free = []
    for limit, usage, statistics, cache in _CGROUP_FILES:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": there is no limit
            allowed, used = int((root / limit).read_text()), int((root / usage).read_text())
            lines = (root / statistics).read_text().splitlines()
            cached = next((int(line.split()[1]) for line in lines if line.startswith(f"{cache} ")), 0)
            free.append(max(0, allowed - used + cached))
    return free
