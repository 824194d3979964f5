"""A training run on disk: what a killed run needs to go on as if nothing had happened.

One safetensors file holds weights, their running average, the optimiser's state and, in its header, the numbers of the
run; it is replaced in one move, so that no crash leaves half of one.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.guard import whole_file

CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"


@dataclass
class Progress:
    """Where a run stands; `best_epoch` 0 is the version that it started from. Seconds count all its processes."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_val_dice: float = -1.0
    elapsed_s: float = 0.0
    training_started_s: float = 0.0


def save_checkpoint(
    run_dir: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
    objective: nn.Module,
) -> None:
    """Write the run's state; the objective has one where it learns its weights."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in average.state_dict().items()}
    tensors |= {f"objective.{name}": tensor for name, tensor in objective.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in state.items()}
    _replace(run_dir / CHECKPOINT_FILE, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(
    run_dir: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: torch.optim.Optimizer,
    objective: nn.Module,
) -> Progress:
    """Put a run's state back into its network, average, optimiser and objective.

    Returns
    -------
    Progress
        A fresh one where the run has no checkpoint.

    Raises
    ------
    MedSegError
        If the file is damaged or belongs to another network.
    """
    path = run_dir / CHECKPOINT_FILE
    if not path.exists():
        return Progress()
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
        network.load_state_dict(_under(tensors, "network."))
        if average is not None:
            average.load_state_dict(_under(tensors, "average."))
        objective.load_state_dict(_under(tensors, "objective."))
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise MedSegError(
            f"{path} cannot be continued ({str(error)[:200]}). Delete it to start the run from its beginning."
        ) from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under(tensors, "optimiser.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return progress


def save_best(run_dir: Path, network: nn.Module) -> None:
    """Write the weights of the best network so far."""
    _replace(run_dir / BEST_FILE, network.state_dict(), {})


def load_best(run_dir: Path, network: nn.Module) -> None:
    """Put the best weights so far into a network."""
    network.load_state_dict(load_file(run_dir / BEST_FILE))


def clear(run_dir: Path) -> None:
    """Delete what only an unfinished run needs."""
    for name in (CHECKPOINT_FILE, BEST_FILE):
        (run_dir / name).unlink(missing_ok=True)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _replace(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with whole_file(path) as beside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside, metadata)
