"""A small real run, and a look at its folder after its process was killed."""

import logging
import os
from pathlib import Path

import torch
from training_phantoms import item, small_card, small_recipe

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import damage_logger
from napari_medseg.core.snapshot import Role, Snapshot, write_snapshot
from napari_medseg.networks import build_network, save_version
from training.__main__ import main
from training.recipe import write_recipe
from training.run_folder import CHECKPOINT_FILE, Failed, Finished, read_events


def make_run(run_dir: Path) -> Path:
    """Four corrections, one older image, two held out; a checkpoint after each step."""
    top = run_dir.parent
    if not (top / "base").exists():
        torch.manual_seed(0)
        card = small_card()
        tiny = card.model_copy(
            update={"architecture": card.architecture.model_copy(update={"options": {"widths": [8, 8]}})}
        )
        save_version(build_network(tiny.architecture), tiny, top / "base")
    run_dir.mkdir()
    items = [item(top, f"train{number}", Role.TRAIN, seed=number) for number in range(4)]
    items.append(item(top, "old", Role.REPLAY, seed=20))
    items += [item(top, f"held{number}", Role.HOLD_OUT, seed=30 + number) for number in range(2)]
    moved = [one.model_copy(update={"image": f"../{one.image}", "labels": f"../{one.labels}"}) for one in items]
    write_snapshot(Snapshot(task="lungs", items=tuple(moved)), run_dir / "snapshot.json")
    recipe = small_recipe(base="../base", n_epochs=3, steps_per_epoch=4, checkpoint_every_steps=1, ema_decay=0.5)
    write_recipe(recipe, run_dir / "recipe.json")
    return run_dir


def train(run_dir: Path) -> None:
    """Train to the end; what the process would print is in its log."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    logging.getLogger().handlers.clear()
    os._exit(main([str(run_dir)]))


def read_result(run_dir: Path) -> str:
    """The hash of the weights of a run that has ended; else what it said last."""
    events = [event for event, _ in read_events(run_dir)]
    if events and isinstance(events[-1], Finished) and not (run_dir / CHECKPOINT_FILE).exists():
        return compute_file_sha256(run_dir / "model.safetensors")
    return str(events[-1:])


def list_faults(run_dir: Path) -> list[str]:
    """What must not be in the folder of a killed run: a failure, or a damaged line before the last one."""
    reports: list[str] = []

    class Reports(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reports.append(record.getMessage())

    handler = Reports()
    damage_logger.addHandler(handler)
    try:
        failures = [event.message for event, _ in read_events(run_dir) if isinstance(event, Failed)]
    finally:
        damage_logger.removeHandler(handler)
    # The line that a kill tore is ended by the next process; it is reported once, and costs only itself.
    return failures + reports[1:]
