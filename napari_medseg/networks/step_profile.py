"""Cost of one training step on this machine, measured in a separate process.

The process is separate, because memory that a process has freed and uses again cannot be measured. It is `python -P -m
napari_medseg.networks.step_profile ORDER`: a request as JSON in, the cost as JSON out.
"""

import contextlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks.architectures import build_network
from napari_medseg.networks.precision import choose_memory_format, make_autocast

N_TIMED = 3
MAX_TIMING_S = 10.0
SAMPLE_EVERY_S = 0.002


class StepSettings(BaseModel):
    """Batch size, plane size, device and precision of a training step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(2, ge=2, description="planes; normalisation by the batch needs two")
    side_px: int = Field(256, ge=1, description="of the square planes")
    device: str = "cpu"
    precision: str = Field("bf16", pattern="^(fp32|bf16)$")


class StepCost(BaseModel):
    """Cost of one step: seconds (median of a few steps after a warm-up step) and memory.

    `peak_bytes` is the maximum of weights, gradients, optimiser state and activations: on a GPU as counted by its
    allocator, on the CPU as growth of the process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    peak_bytes: int


class _ProfileRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture
    size: StepSettings


def measure_step_cost(architecture: Architecture, size: StepSettings) -> StepCost:
    """Train a network on noise for a few AdamW steps in another process, and measure time and memory.

    Raises
    ------
    MedSegError
        If it cannot be built or trained, or there is not enough memory.
    """
    order = _ProfileRequest(architecture=architecture, size=size).model_dump_json()
    command = [sys.executable, "-P", "-X", "utf8", "-m", "napari_medseg.networks.step_profile", order]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if answer.returncode == 0:
        return StepCost.model_validate_json(answer.stdout.splitlines()[-1])
    if answer.returncode == 1:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
    else:
        reason = f"its process was ended from outside ({answer.returncode}), maybe because memory ran out"
    raise MedSegError(
        f"a step of {architecture.name} with {size.batch_size} planes of {size.side_px} px on {size.device} failed: "
        f"{reason}. Use fewer or smaller planes."
    )


def measure_step_cost_in_process(architecture: Architecture, size: StepSettings) -> StepCost:
    """Measure the cost in this process, which should not have done anything else before."""
    with _watch_peak_bytes(torch.device(size.device)) as peak:
        seconds = _time_steps(build_network(architecture).to(size.device).train(), architecture, size)
    return StepCost(seconds=seconds, peak_bytes=peak[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement of the JSON argument; return 1 after an error, which is the last line of stderr."""
    order = _ProfileRequest.model_validate_json((sys.argv[1:] if arguments is None else arguments)[0])
    try:
        cost = measure_step_cost_in_process(order.architecture, order.size)
    except (MedSegError, RuntimeError, ValueError, MemoryError) as error:  # torch: no such device, no memory
        sys.stderr.write(f"{' '.join(str(error).split())[:300]}\n")
        return 1
    sys.stdout.write(f"{cost.model_dump_json()}\n")
    return 0


def _time_steps(network: nn.Module, architecture: Architecture, size: StepSettings) -> float:
    memory_format = choose_memory_format(torch.device(size.device))
    network.to(memory_format=memory_format)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-6)
    plane = (size.batch_size, size.side_px, size.side_px)
    labels = torch.randint(architecture.classes, plane, device=size.device)
    images = torch.randn(plane[0], architecture.in_channels, *plane[1:], device=size.device)
    images = images.contiguous(memory_format=memory_format)
    _run_training_step(network, optimiser, (images, labels), size)  # warm-up: allocates memory and chooses kernels
    seconds: list[float] = []
    while len(seconds) < N_TIMED and sum(seconds) < MAX_TIMING_S:
        began = time.perf_counter()
        _run_training_step(network, optimiser, (images, labels), size)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _run_training_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], size: StepSettings
) -> None:
    kind = torch.device(size.device).type
    with make_autocast(torch.device(size.device), size.precision):
        logits = network(batch[0])
    loss = functional.cross_entropy(logits.float(), batch[1])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    if kind != "cpu":
        torch.accelerator.synchronize(size.device)


@contextlib.contextmanager
def _watch_peak_bytes(device: torch.device) -> Iterator[list[int]]:
    """Watch the used memory in a thread; at the end the list holds its largest growth in bytes."""
    used, grown, ended = _make_memory_counter(device), [0], threading.Event()
    before = used()

    def look() -> None:
        while not ended.wait(SAMPLE_EVERY_S):
            grown[0] = max(grown[0], used() - before)

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield grown
    finally:
        ended.set()
        watch.join()
        grown[0] = max(grown[0], used() - before)


def _make_memory_counter(device: torch.device) -> Callable[[], int]:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory
    process = psutil.Process()
    return lambda: int(process.memory_info().rss)


if __name__ == "__main__":
    sys.exit(main())
