"""Cost of a run: seconds, memory and parameters, in `cost.json`. Torch is imported only to count parameters."""

import sys
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from napari_medseg.core.json_model import read_json_model
from training.run_folder import COST_FILE, Finished, Started, read_events


class RunCost(BaseModel):
    """Cost of one run; `peak_mb` is the peak memory of its process, or on a GPU the peak memory of torch there."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seconds: float
    peak_mb: float
    parameters: int
    device: str


def write_cost(run_dir: Path) -> RunCost:
    """Measure this process and the version in the run folder, and write `cost.json` beside it."""
    import torch

    from napari_medseg.networks import load_version

    network, _ = load_version(run_dir)
    devices = [event.device for event, _ in read_events(run_dir) if isinstance(event, Started)]
    on_gpu = devices[-1].startswith("cuda")  # the last one: a run can move to the CPU
    cost = RunCost(
        seconds=max(event.seconds for event, _ in read_events(run_dir) if isinstance(event, Finished)),
        peak_mb=torch.cuda.max_memory_allocated(devices[-1]) / 2**20 if on_gpu else _measure_peak_mb(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        device=torch.cuda.get_device_name(devices[-1]) if on_gpu else "cpu",
    )
    (run_dir / COST_FILE).write_text(cost.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return cost


def read_cost(run_dir: Path) -> RunCost:
    """Read what `write_cost` wrote; raise `MedSegError` if it is damaged."""
    return read_json_model(
        run_dir / COST_FILE, RunCost, "is not the cost of a run", f"Delete {run_dir} to train again."
    )


def _measure_peak_mb() -> float:
    """Return the peak memory of this process so far, in MiB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**20
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
