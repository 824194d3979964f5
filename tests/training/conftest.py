"""Run folders of phantoms."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_phantoms import item, small_card, small_recipe

from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.networks import build_network, save_version
from training.recipe import write_recipe


@pytest.fixture(scope="session")
def base_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version with random weights, the same in every test."""
    folder = tmp_path_factory.mktemp("version")
    torch.manual_seed(0)
    card = small_card()
    save_version(build_network(card.architecture), card, folder)
    return folder


@pytest.fixture
def make_run(tmp_path: Path, base_version: Path) -> Callable[..., Path]:
    """Make a run folder: by default four corrections, one replayed image, three held out."""

    def make(
        name: str = "run",
        items: list[SnapshotItem] | None = None,
        base_folder: Path = base_version,
        task: str = "lungs",
        **recipe: object,
    ) -> Path:
        run_dir = tmp_path / name
        run_dir.mkdir()
        if items is None:
            items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(4)]
            items.append(item(tmp_path, "old", Role.REPLAY, seed=20))
            items += [item(tmp_path, f"held{n}", Role.HOLD_OUT, seed=30 + n) for n in range(3)]
        moved = [one.model_copy(update={"image": f"../{one.image}", "labels": f"../{one.labels}"}) for one in items]
        write_snapshot(Snapshot(task=task, items=tuple(moved)), run_dir / "snapshot.json")
        write_recipe(small_recipe(base=str(base_folder), **recipe), run_dir / "recipe.json")
        return run_dir

    return make
