"""Data-parallel training of one network in several processes, as started by `torchrun`; each has different batches.

After every step the gradients are averaged over all processes, so that the networks stay equal. If the processes have
to agree on a value, the first one decides; only the first one writes into the run folder. All gradients, including
those of loss weights and unused layers, are averaged in one operation after the backward pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.device import choose_device

RANK_SEED_STRIDE = 7_368_787
"""Distance between the seeds of two processes, so that they draw different batches."""
PROCESS_GROUP_TIMEOUT = timedelta(hours=12)
"""How long other processes wait for the first one, which evaluates the hold-out alone."""


@dataclass(frozen=True)
class RankContext:
    """One of the training processes; by default there is only this one."""

    rank: int = 0
    size: int = 1
    device: torch.device | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes, and decides for all."""
        return self.rank == 0

    def broadcast(self, value: float) -> float:
        """Return the first process's value."""
        if self.size == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(said, src=0)
        return float(said)

    def wait(self) -> None:
        """Wait until all processes have called this method."""
        self.broadcast(0.0)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its mean over all processes; a missing gradient counts as 0."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in place; integer tensors are not changed."""
        moving = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.size == 1 or not moving:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in moving])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, piece in zip(moving, torch.split(flat, [each.numel() for each in moving]), strict=True):
            tensor.copy_(piece.view_as(tensor))

    def average_scalar(self, value: Tensor) -> Tensor:
        """Return the mean of a scalar over all processes; it is not finite if one of the values is not finite."""
        if self.size == 1:
            return value
        total = value.detach().clone().double()
        distributed.all_reduce(total)
        return total / self.size


@contextmanager
def join_process_group() -> Iterator[RankContext]:
    """Join the other processes if `torchrun` started this one; otherwise yield a context with one process.

    Raises
    ------
    MedSegError
        If there are more processes than GPUs on this machine, or the GPU of this process does not compute.
    """
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        yield RankContext()
        return
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", distributed.get_node_local_rank())
        if device.index >= torch.cuda.device_count():
            raise MedSegError(
                f"torchrun started more processes than the {torch.cuda.device_count()} GPUs of this machine. "
                "Lower --nproc-per-node."
            )
        device = choose_device(str(device))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PROCESS_GROUP_TIMEOUT)
    try:
        yield RankContext(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
