"""A training run on disk: what a killed run needs to go on as if nothing had happened.

One safetensors file holds weights, their running average, the optimiser's state and, in its header, the numbers of the
run; it is replaced in one move, so that no crash leaves half of one. Weights worth keeping lie in files beside it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from training.learner import Learner
from training.run_folder import BEST_FILE, CHECKPOINT_FILE, CYCLE_PATTERN


@dataclass
class TrainingProgress:
    """Where a run stands; seconds count all its processes, epochs all its stages.

    Parameters
    ----------
    epoch, step
        How many are over; steps that a stage did not take, as it ended early, count as well.
    best_epoch, best_val_dice
        Of the best so far; epoch 0 is the version that the run started from.
    elapsed_s, training_started_s
        Seconds of the run, now and when its first step began.
    stage, cycle
        The present ones, from 0.
    stage_epoch
        How many epochs were over when the stage began.
    losses
        Of the steps of the epoch under way; `None` for a batch that was left out as its loss was not finite.
    n_bad, n_lowered
        Batches left out one after the other until now, and how often the rate was lowered for that.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_val_dice: float = -1.0
    elapsed_s: float = 0.0
    training_started_s: float = 0.0
    stage: int = 0
    cycle: int = 0
    stage_epoch: int = 0
    losses: list[float | None] = field(default_factory=list)
    n_bad: int = 0
    n_lowered: int = 0


def save_checkpoint(run_dir: Path, learner: Learner, progress: TrainingProgress) -> None:
    """Write the run's state."""
    tensors = {
        f"{part}.{name}": tensor
        for part, module in _collect_modules(learner).items()
        for name, tensor in module.state_dict().items()
    }
    for index, state in learner.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    _write_tensors(run_dir / CHECKPOINT_FILE, tensors, {"progress": json.dumps(asdict(progress))})


def read_progress(run_dir: Path) -> TrainingProgress:
    """Return where a run stands; a fresh one where it has no checkpoint. Raises `MedSegError` where that is damaged."""
    path = run_dir / CHECKPOINT_FILE
    if not path.exists():
        return TrainingProgress()
    try:
        with safe_open(path, framework="pt") as file:
            return TrainingProgress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise _make_resume_error(path, error) from error


def load_checkpoint(run_dir: Path, learner: Learner) -> None:
    """Put a run's state back into a learner that was made for the same stage; nothing where there is no checkpoint.

    Raises
    ------
    MedSegError
        If the file is damaged or belongs to another network.
    """
    path = run_dir / CHECKPOINT_FILE
    if not path.exists():
        return
    try:
        tensors = load_file(path)
        for part, module in _collect_modules(learner).items():
            module.load_state_dict(_select_prefix(tensors, f"{part}."))
    except (SafetensorError, RuntimeError) as error:
        raise _make_resume_error(path, error) from error
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _select_prefix(tensors, "optimiser.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    groups = learner.optimiser.state_dict()["param_groups"]
    learner.optimiser.load_state_dict({"state": state, "param_groups": groups})


def save_best(run_dir: Path, network: nn.Module) -> None:
    """Write the weights of the best network so far."""
    _write_tensors(run_dir / BEST_FILE, network.state_dict(), {})


def load_best(run_dir: Path) -> dict[str, Tensor]:
    """Read the weights of the best network so far."""
    return load_file(run_dir / BEST_FILE)


def save_cycle(run_dir: Path, stage: int, cycle: int, network: nn.Module) -> None:
    """Write the weights at the end of a cycle."""
    _write_tensors(run_dir / CYCLE_PATTERN.replace("*", f"{stage:02d}-{cycle:03d}"), network.state_dict(), {})


def load_cycles(run_dir: Path) -> list[dict[str, Tensor]]:
    """Read the weights at the ends of all cycles, in order."""
    return [load_file(path) for path in sorted(run_dir.glob(CYCLE_PATTERN))]


def delete_checkpoints(run_dir: Path) -> None:
    """Delete what only an unfinished run needs."""
    for path in (run_dir / CHECKPOINT_FILE, run_dir / BEST_FILE, *run_dir.glob(CYCLE_PATTERN)):
        path.unlink(missing_ok=True)


def _collect_modules(learner: Learner) -> dict[str, nn.Module]:
    """Return all that learns, by its place in the file."""
    modules = {"network": learner.network, "average": learner.average, "loss": learner.loss}
    return {part: module for part, module in modules.items() if module is not None}


def _make_resume_error(path: Path, error: Exception) -> MedSegError:
    return MedSegError(
        f"{path} cannot be continued ({str(error)[:200]}). Delete it to start the run from its beginning."
    )


def _select_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_write(path) as beside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside, metadata)
