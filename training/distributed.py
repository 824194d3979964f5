"""Several processes that train one network, as `torchrun` starts them, each on batches of its own.

Data parallel in its plainest form: after every step the gradients are averaged over all processes, so that the
networks stay equal. Where the processes have to agree, the first one decides; it alone writes into the run folder.
Gradients travel in one piece behind the backward pass, the loss's own weights and frozen or unused layers included.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from napari_medseg.core.errors import MedSegError

RANK_SEED_STRIDE = 7_368_787
"""Between the seeds of the processes, so that no two of them draw the same."""
PROCESS_GROUP_TIMEOUT = timedelta(hours=12)
"""Others wait this long for the first process, which measures the hold-out alone."""


@dataclass(frozen=True)
class RankContext:
    """One process among all of them; by default it is alone."""

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
        """Return when all processes are here."""
        self.broadcast(0.0)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Make every gradient the mean over all processes; one that a process has none of counts as 0 there."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor the mean over all processes, in place; whole numbers are left as they are."""
        moving = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.size == 1 or not moving:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in moving])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, piece in zip(moving, torch.split(flat, [each.numel() for each in moving]), strict=True):
            tensor.copy_(piece.view_as(tensor))

    def average_scalar(self, value: Tensor) -> Tensor:
        """Return the mean over all processes of one number, which is no number where it is none in any of them."""
        if self.size == 1:
            return value
        total = value.detach().clone().double()
        distributed.all_reduce(total)
        return total / self.size


@contextmanager
def join_process_group() -> Iterator[RankContext]:
    """Join the other processes where `torchrun` started this one; alone otherwise.

    Raises
    ------
    MedSegError
        If there are more processes than GPUs on this machine.
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
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PROCESS_GROUP_TIMEOUT)
    try:
        yield RankContext(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
