"""The same hold-out cases as each row of a suite labels them."""

from collections.abc import Iterator, Sequence

from napari_medseg.core.snapshots import read_snapshot
from napari_medseg.core.tasks import task_named
from napari_medseg.inference.predictor import Predictor
from training.benchmark import Planned
from training.evaluate import judge_case
from training.judge import labelled_case
from training.pictures import CasePicture, picture_of
from training.recipe import read_recipe
from training.setup import RECIPE_FILE, SNAPSHOT_FILE, best_device, split_by_role

N_CASES = 2


def pictures_of(planned: Sequence[Planned]) -> Iterator[tuple[str, list[CasePicture]]]:
    """Yield the name of each row that is done with pictures of the first and the middle case of its hold-out."""
    for one in planned:
        if one.is_done:
            yield one.row.name, _pictures_of(one)


def _pictures_of(one: Planned) -> list[CasePicture]:
    recipe, snapshot = read_recipe(one.run_dir / RECIPE_FILE), read_snapshot(one.run_dir / SNAPSHOT_FILE)
    device = str(best_device())
    finder = Predictor.load(one.run_dir / recipe.field_base, device) if recipe.field_base else None
    predictor, task = Predictor.load(one.run_dir, device, finder), task_named(snapshot.task)
    held_out = split_by_role(snapshot).hold_out
    chosen = held_out[:: max(1, len(held_out) // N_CASES)][:N_CASES]
    return [picture_of(judge_case(predictor, labelled_case(item, one.run_dir), task), task) for item in chosen]
