"""Checkpoints of a training run: everything that a stopped run needs to resume exactly.

One safetensors file contains weights, their moving average, the optimiser's state and, in its header, the progress of
the run. It is replaced atomically, so that a crash never leaves an incomplete file. The best weights and the weights at
the ends of cycles are in separate files.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor, nn

from napari_medseg.core.atomic_io import atomic_write, remove_file
from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.device import choose_device, describe_device
from training.learner import Learner
from training.recipe import Recipe
from training.run_folder import BEST_FILE, CHECKPOINT_FILE, CYCLE_PATTERN, WEIGHTS_FILE

logger = logging.getLogger(__name__)


@dataclass
class TrainingProgress:
    """Progress of a run; seconds are summed over all its processes, epochs over all its stages.

    Parameters
    ----------
    epoch, step
        Number of completed epochs and steps. If a stage ended early, its missing steps count as completed.
    best_epoch, best_val_dice
        Epoch and validation Dice of the best weights; epoch 0 is the version that the run started from.
    elapsed_s, training_started_s
        Seconds since the start of the run, now and at its first step.
    validation_s
        Seconds of the first validation.
    stage, cycle
        Index of the current stage and cycle, from 0.
    stage_epoch
        Number of completed epochs when the stage started.
    losses
        Losses of the current epoch; `None` for a batch that was skipped because its loss was not finite.
    n_bad, n_lowered
        Number of batches skipped in a row, and how often the learning rate was lowered because of this.
    n_parts
        Number of parts in which a batch passes through the network; 0: as the recipe says.
    device
        Device that trained up to here; empty in checkpoints of older versions that did not move.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_val_dice: float = -1.0
    elapsed_s: float = 0.0
    training_started_s: float = 0.0
    validation_s: float = 0.0
    stage: int = 0
    cycle: int = 0
    stage_epoch: int = 0
    losses: list[float | None] = field(default_factory=list)
    n_bad: int = 0
    n_lowered: int = 0
    n_parts: int = 0
    device: str = ""


_PROGRESS = TypeAdapter(TrainingProgress)


class TolerantWriter:
    """Saves files in the middle of a run: training goes on without one that cannot be written, and says why, once.

    Parameters
    ----------
    tell
        Takes a notice for the user.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def try_to_save(self, save: Callable[[], None], lost: str) -> bool:
        """Save a file, and return whether that worked; `lost` says what the user loses if not."""
        try:
            save()
        except MedSegError as error:
            logger.warning("training goes on, but %s: %s", lost, error)
            if str(error) not in self._told:
                self._tell(f"training goes on, but {lost}: {error}")
            self._told.add(str(error))
            return False
        return True


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
    """Return the progress of a run; a new one if there is no checkpoint. Raises `MedSegError` if that is damaged."""
    path = run_dir / CHECKPOINT_FILE
    if not path.exists():
        return TrainingProgress()
    try:
        with safe_open(path, framework="pt") as file:
            return _PROGRESS.validate_json(file.metadata()["progress"])
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise _make_resume_error(path, error) from error


def load_checkpoint(run_dir: Path, learner: Learner) -> None:
    """Restore the state of a learner that was made for the same stage; do nothing if there is no checkpoint.

    Raises
    ------
    MedSegError
        If the file is damaged or belongs to another network.
    """
    path = run_dir / CHECKPOINT_FILE
    if not path.exists():
        return
    try:
        tensors = _read_tensors(path)
        for part, module in _collect_modules(learner).items():
            module.load_state_dict(_select_prefix(tensors, f"{part}."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _select_prefix(tensors, "optimiser.").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = tensor
        groups = learner.optimiser.state_dict()["param_groups"]
        learner.optimiser.load_state_dict({"state": state, "param_groups": groups})
    except (SafetensorError, RuntimeError, ValueError, LookupError) as error:
        raise _make_resume_error(path, error) from error


def save_best(run_dir: Path, network: nn.Module) -> None:
    """Write the weights of the best network so far."""
    _write_tensors(run_dir / BEST_FILE, network.state_dict(), {})


def load_best(run_dir: Path) -> dict[str, Tensor]:
    """Read the weights of the best network so far."""
    return _read_tensors(run_dir / BEST_FILE)


def save_cycle(run_dir: Path, stage: int, cycle: int, network: nn.Module) -> None:
    """Write the weights at the end of a cycle."""
    _write_tensors(run_dir / CYCLE_PATTERN.replace("*", f"{stage:02d}-{cycle:03d}"), network.state_dict(), {})


def load_cycles(run_dir: Path) -> list[dict[str, Tensor]]:
    """Read the weights at the ends of all cycles, in order."""
    return [_read_tensors(path) for path in sorted(run_dir.glob(CYCLE_PATTERN))]


def delete_checkpoints(run_dir: Path) -> None:
    """Delete the files that only an unfinished run needs."""
    for path in (run_dir / CHECKPOINT_FILE, run_dir / BEST_FILE, *run_dir.glob(CYCLE_PATTERN)):
        try:
            remove_file(path)
        except OSError:  # the run is finished all the same
            logger.warning("cannot delete %s", path, exc_info=True)


def choose_run_device(recipe: Recipe, run_dir: Path) -> tuple[torch.device, str]:
    """Return the device of a run, and a notice if its recipe's cannot be used here or its checkpoint is of another one.

    A run that moved to the CPU tries the device of its recipe again, since a GPU is full or lost for a while only.

    Raises
    ------
    MedSegError
        If it cannot be used and nothing is trained yet.
    """
    trained_on = read_progress(run_dir).device
    try:
        device = choose_device(recipe.run.device)
        return device, _explain_change(trained_on, device) if trained_on not in ("", str(device)) else ""
    except MedSegError as error:
        if not any((run_dir / name).exists() for name in (CHECKPOINT_FILE, WEIGHTS_FILE)):
            raise
        device, reason = choose_device(), str(error)
    return device, f"{reason} The run goes on on {describe_device(device)}."


def _explain_change(trained_on: str, device: torch.device) -> str:
    return (
        f"the last checkpoint is from {trained_on}, the run goes on on {device}: the result can differ in the last "
        "digits from a run on one device. To stay on one, name it (run.device in recipe.json)"
    )


def _collect_modules(learner: Learner) -> dict[str, nn.Module]:
    """Return all modules with trained weights, by their prefix in the file."""
    modules = {"network": learner.network, "average": learner.average, "loss": learner.loss}
    return {part: module for part, module in modules.items() if module is not None}


def _make_resume_error(path: Path, error: Exception) -> MedSegError:
    return MedSegError(
        f"the run cannot be resumed from {path} ({str(error)[:200]}). Delete the file to restart the run."
    )


def _select_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file as bytes. `load_file` maps it, and Windows replaces no file that a tensor of this process maps."""
    try:
        return load(path.read_bytes())  # type: ignore[no-any-return]
    except SafetensorError as error:
        raise _make_resume_error(path, error) from error


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    with atomic_write(path) as beside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside, metadata)
